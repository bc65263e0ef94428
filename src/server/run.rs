//! `quorate server`: one node until it is told to stop.

use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::node::{Node, NodeError, NodeOptions};
use super::reload::Reloads;
use super::supervision::Supervision;

/// Between two looks whether a node has ended by itself.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Starts a node, calls `ready` when it runs, and returns after SIGTERM or Ctrl-C, or when the node ends by itself.
/// SIGHUP reloads; who started the process with a `NOTIFY_SOCKET` is told of all of it.
pub fn run(options: NodeOptions, mut reloads: Reloads, ready: impl FnOnce(&Node)) -> Result<(), NodeError> {
    let supervision = Supervision::of_environment()?;
    let options = NodeOptions { phases: supervision.phases(), ..options };
    let ended = supervised(options, &mut reloads, ready, &supervision);
    if let Err(error) = &ended {
        supervision.failed(error);
    }
    supervision.end();
    ended
}

fn supervised(
    options: NodeOptions,
    reloads: &mut Reloads,
    ready: impl FnOnce(&Node),
    supervision: &Supervision,
) -> Result<(), NodeError> {
    let runtime = runtime()?;
    // From here on a SIGHUP does not end the process; one that comes during the start is carried out after it. SIGTERM
    // ends a start at once: nothing is acknowledged yet, and what it writes may be cut off anywhere.
    let mut hangup = listen(&runtime, SignalKind::hangup())?;
    let (data_dir, slow_requests) = (options.config.data_dir.clone(), options.config.log.slow_requests);
    let node = Node::start(options)?;
    let mut stop = StopSignals::listen(&runtime)?;
    let renewal = node.renewal();
    // It says itself what came of it: the files are read on a thread of their own.
    reloads.subscribe("certificates", &[], move |_| {
        renewal.ask();
        Ok(None)
    });
    let (mut threshold, account_for) = (slow_requests, node.slow_requests());
    reloads.subscribe("slow requests", &["log.slow_requests"], move |config| {
        let wanted = config.log.slow_requests;
        if wanted == threshold {
            return Ok(None);
        }
        account_for(wanted);
        threshold = wanted;
        let words = |time: Duration| format!("noted from {} on", humantime::format_duration(time));
        Ok(Some(wanted.map_or_else(|| "not noted any more".to_owned(), words)))
    });
    ready(&node);
    supervision.ready(|| node.pulse(&data_dir))?;
    loop {
        let reload = runtime.block_on(async {
            tokio::select! {
                () = stop.wait(std::slice::from_ref(&node)) => false,
                _ = hangup.recv() => true,
            }
        });
        if !reload {
            break;
        }
        supervision.reloading();
        supervision.reloaded(reloads.carry_out());
    }
    supervision.stopping();
    node.stop();
    node.join()
}

/// Returns when a signal says to stop, or one of the nodes has ended by itself.
pub(super) fn wait_for_stop(nodes: &[Node]) -> Result<(), NodeError> {
    let runtime = runtime()?;
    let mut stop = StopSignals::listen(&runtime)?;
    runtime.block_on(stop.wait(nodes));
    Ok(())
}

/// SIGTERM and Ctrl-C. One that comes while nobody waits is there for the next who does.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn listen(runtime: &Runtime) -> std::io::Result<Self> {
        let terminate = listen(runtime, SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: listen(runtime, SignalKind::interrupt())? })
    }

    async fn wait(&mut self, nodes: &[Node]) {
        let mut pulse = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = pulse.tick() => {
                    if nodes.iter().any(Node::is_finished) {
                        return;
                    }
                }
            }
        }
    }
}

fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn listen(runtime: &Runtime, kind: SignalKind) -> std::io::Result<Signal> {
    let _inside = runtime.enter();
    signal(kind)
}
