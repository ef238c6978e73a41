//! Work at a constant rate, however long each piece takes: an open loop.

use std::time::Duration;

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// Starts `count` pieces of work at a rate, and waits for all. Each is told its number and the moment that was intended for it.
pub async fn run_at_rate<F, T>(
    count: usize,
    per_second: f64,
    mut start: impl FnMut(usize, Instant) -> F,
) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let (begin, mut pieces) = (Instant::now(), JoinSet::new());
    let mut due = begin;
    for number in 0..count {
        sleep_until(due).await;
        pieces.spawn(start(number, due));
        due += Duration::from_secs(1).div_f64(per_second);
    }
    pieces.join_all().await
}

/// Does all pieces of work, so many at a time.
pub async fn run_in_parallel<F, T>(pieces: impl IntoIterator<Item = F>, at_once: usize) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let (mut running, mut done) = (JoinSet::new(), Vec::new());
    for piece in pieces {
        if running.len() == at_once {
            done.extend(running.join_next().await.and_then(Result::ok));
        }
        running.spawn(piece);
    }
    done.extend(running.join_all().await);
    done
}

#[cfg(test)]
mod tests;
