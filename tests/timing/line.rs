//! The slow line that measures stand on: it is as slow and as long as it says, and hides no queue.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use moorline_tests::{Line, Relay, Stage, once};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

once! {
    a_line_carries_its_rate_and_no_more,
    a_line_holds_its_queue_and_what_is_under_way_and_no_more,
}

const LINE: Line =
    Line { bits_per_second: 20_000_000, delay: Duration::from_millis(20), queue_bytes: 64 * 1024 };

/// Both ends of a connection over that line.
async fn ends() -> Result<(Relay, TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let relay = Relay::over(listener.local_addr()?, LINE)?;
    let near = TcpStream::connect(relay.address).await?;
    let (far, _) = listener.accept().await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Ok((relay, near, far))
}

async fn a_line_carries_its_rate_and_no_more(_stage: &Stage) -> Result<()> {
    const BYTES: usize = 2_000_000;
    let (_relay, mut from, mut to) = ends().await?;
    for _ in ["there", "back"] {
        let since = Instant::now();
        from.write_all(b"x").await?;
        to.read_u8().await?;
        let alone = since.elapsed();
        let since = Instant::now();
        let (all, mut there) = (vec![7; BYTES], vec![0; BYTES]);
        tokio::try_join!(from.write_all(&all), to.read_exact(&mut there))?;
        let took = since.elapsed();
        let least = Duration::from_secs_f64(BYTES as f64 * 8.0 / LINE.bits_per_second as f64) + LINE.delay;
        eprintln!("{BYTES} bytes took {took:?}, at the least {least:?}; one byte {alone:?}");
        ensure!(alone >= LINE.delay && alone < 3 * LINE.delay, "one byte took {alone:?}");
        ensure!(took >= least && took < least + least / 4, "{took:?}, at the least {least:?}");
        std::mem::swap(&mut from, &mut to);
    }
    Ok(())
}

async fn a_line_holds_its_queue_and_what_is_under_way_and_no_more(_stage: &Stage) -> Result<()> {
    const PIECE: usize = 1024;
    let (_relay, mut near, mut far) = ends().await?;
    // What the sender's own kernel holds is the sender's: here next to nothing.
    socket2::SockRef::from(&near).set_send_buffer_size(4 * PIECE)?;
    let clock = Instant::now();
    let writing = async {
        for _ in 0..2_000 {
            let mut piece = [0; PIECE];
            piece[..8].copy_from_slice(&(clock.elapsed().as_micros() as u64).to_be_bytes());
            near.write_all(&piece).await?;
        }
        anyhow::Ok(())
    };
    let reading = async {
        let (mut ages, mut piece) = (Vec::new(), [0; PIECE]);
        for _ in 0..2_000 {
            far.read_exact(&mut piece).await?;
            let begun = u64::from_be_bytes(piece[..8].try_into()?);
            ages.push(clock.elapsed() - Duration::from_micros(begun));
        }
        anyhow::Ok(ages)
    };
    let ((), mut ages) = tokio::try_join!(writing, reading)?;
    ages.sort();
    let middle = ages[ages.len() / 2];
    eprintln!("a piece was under way for {middle:?}");
    // The queue of 64 KiB is 26 ms; the two sockets beside it have some segments each.
    ensure!(middle > Duration::from_millis(40) && middle < Duration::from_millis(75), "{middle:?}");
    Ok(())
}
