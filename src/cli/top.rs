//! `quorate top`: what every node is doing, live.
//!
//! Every node is asked over its control connection for what its shards have pinned up anyway (`server/report.rs`), so
//! that watching costs a request nothing. Two accounts, a moment apart, make rates and quantiles (`rates`); a minute of
//! them makes the sparklines (`frame`).

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use super::connection::Contact;
use super::outcome::Outcome;
use super::screen::{self, Colours};
use crate::client::Client;
use frame::{Frame, Glyphs};
use terminal::{Event, Terminal};
use watch::Watch;

mod frame;
mod rates;
mod terminal;
mod watch;

/// Between two frames at least: shards say something new four times a second.
const INTERVAL_MIN: Duration = Duration::from_millis(250);
const INTERVAL_MAX: Duration = Duration::from_secs(60);
/// A frame is not kept waiting by a slow node for longer than this, nor for more of the interval than four fifths.
const NODE_TIMEOUT_MAX: Duration = Duration::from_secs(2);

/// Watch every node: requests, latencies, queues, hints.
///
/// Requests are those that a node coordinates, from clients and from nodes that passed them on. Latencies are those of
/// requests that succeeded, to within their histogram's bucket, a factor of two. q or Ctrl-C leaves. Exit code 1 when
/// no node answers.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// Print one frame as plain text after one interval, and end. So it is when standard output is no terminal.
    #[arg(long)]
    once: bool,
    /// Print that frame as JSON.
    #[arg(long, requires = "once")]
    json: bool,
    /// Between two frames, 250ms to 60s.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    interval: Duration,
}

/// For clap: a time between two frames.
fn interval(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if (INTERVAL_MIN..=INTERVAL_MAX).contains(&time) => Ok(time),
        Ok(_) => Err("use 250ms to 60s".to_owned()),
        Err(error) => Err(format!("{error}; write a time such as 500ms or 2s")),
    }
}

/// Runs the subcommand.
pub fn run(args: &TopArgs, contact: &Contact) -> anyhow::Result<Outcome> {
    let live = !args.once && io::stdout().is_terminal();
    contact.with_client(None, async |client| match live {
        true => watch_live(client, args.interval).await,
        false => watch_once(client, args).await,
    })
}

/// One frame after one interval.
async fn watch_once(client: &Client, args: &TopArgs) -> anyhow::Result<Outcome> {
    let mut watch = Watch::new(client);
    watch.look(NODE_TIMEOUT_MAX).await;
    tokio::time::sleep(args.interval).await;
    watch.look(NODE_TIMEOUT_MAX).await;
    if args.json {
        screen::print_json(&frame::to_json(&watch.roll, args.interval))?;
    } else {
        let (width, colours, interval) = (screen::width(), Colours::of_stdout(), args.interval);
        let frame = Frame { width, colours, glyphs: Glyphs::None, interval };
        screen::print((frame.lines(&watch.roll).join("\n") + "\n").as_bytes())?;
    }
    Ok(if watch.roll.answered() > 0 { Outcome::Done } else { Outcome::Failed })
}

/// A frame each interval until somebody leaves.
async fn watch_live(client: &Client, interval: Duration) -> anyhow::Result<Outcome> {
    let mut watch = Watch::new(client);
    let mut ends = Ends::listen()?;
    // From here on the terminal is ours; it is given back however this function ends.
    let mut terminal = Terminal::enter()?;
    let (within, glyphs) = ((interval * 4 / 5).min(NODE_TIMEOUT_MAX), Glyphs::of_locale());
    let outcome = |watch: &Watch| if watch.roll.answered() > 0 { Outcome::Done } else { Outcome::Failed };
    loop {
        let next = Instant::now() + interval;
        {
            let mut looking = std::pin::pin!(watch.look(within));
            loop {
                tokio::select! {
                    () = &mut looking => break,
                    event = terminal.event() => if event == Event::Quit { return Ok(Outcome::Done) },
                    () = ends.wait() => return Ok(Outcome::Done),
                }
            }
        }
        loop {
            let (columns, rows) = Terminal::size();
            let frame = Frame { width: Some(columns), colours: Colours::of_stdout(), glyphs, interval };
            terminal.draw(&frame.lines(&watch.roll), rows)?;
            tokio::select! {
                () = tokio::time::sleep_until(next) => break,
                event = terminal.event() => match event {
                    Event::Quit => return Ok(outcome(&watch)),
                    Event::Redraw => {}
                },
                () = ends.wait() => return Ok(outcome(&watch)),
            }
        }
    }
}

/// The signals that end the program; Ctrl-C is a key while the terminal is ours.
struct Ends {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Ends {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
