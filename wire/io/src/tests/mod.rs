//! Two handles joined by channels: what the streams of agent and broker see.

mod joined;
mod streams;
