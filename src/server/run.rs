//! `quorate server`: one node until it is told to stop.

use tokio::signal::unix::{SignalKind, signal};

use super::node::{Node, NodeError, NodeOptions};

/// Starts a node, calls `ready` when it runs, and returns after SIGTERM or Ctrl-C, or when the node ends by itself.
pub fn run(options: NodeOptions, ready: impl FnOnce(&Node)) -> Result<(), NodeError> {
    let node = Node::start(options)?;
    ready(&node);
    let nodes = [node];
    wait_for_stop(&nodes)?;
    let [node] = nodes;
    node.stop();
    node.join()
}

/// Returns when a signal says to stop, or one of the nodes has ended by itself.
pub(super) fn wait_for_stop(nodes: &[Node]) -> Result<(), NodeError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut pulse = tokio::time::interval(std::time::Duration::from_millis(200));
        loop {
            tokio::select! {
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                _ = hangup.recv() => nodes.iter().for_each(Node::reload),
                _ = pulse.tick() => {
                    if nodes.iter().any(Node::is_finished) {
                        return Ok(());
                    }
                }
            }
        }
    })
}
