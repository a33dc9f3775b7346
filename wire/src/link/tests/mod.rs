//! The machine against its twin: two links, two wires, and a time that jumps from event to event.

mod app;
mod chance;
mod cuts;
mod fairness;
mod golden;
mod histories;
mod hostile;
mod life;
mod pace;
mod pair;
mod rules;
mod streams;
