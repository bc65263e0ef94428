//! `quorate bench timeline`: what users notice when nodes of a cluster die, stand still and come back.

use clap::Args;

use super::super::connection::block_on;
use super::super::outcome::{Outcome, UsageError};
use super::load::LoadArgs;
use super::output::OutputArgs;
use super::progress::Show;
use super::table;
use super::target::{LocalArgs, connect, local_target, start, until_interrupted};
use crate::load::cluster::Act;
use crate::load::report::Report;
use crate::load::run::Preparation;
use crate::load::script::{Cue, Deed, Script, Stage};
use crate::load::settings::Settings;
use crate::load::watch::{Progress, Watch, Watched};

/// Load a local cluster while nodes are killed, stopped and started again, and show it second by second.
///
/// Three server processes, n1 to n3, are started for it and removed after it. Times count from the beginning of the
/// measured time. Without --rate 2000 requests a second are sent, whatever the answers do, so that a standstill is
/// charged to all that would have been asked in it.
#[derive(Debug, Args)]
#[command(mut_arg("duration", |arg| arg.default_value("60s")), mut_arg("rate", |arg| arg.default_value("2000")))]
pub(super) struct TimelineArgs {
    /// End a node with kill -9, such as n2@20s. May be given several times, like the others.
    #[arg(long, value_name = "NODE@TIME")]
    kill: Vec<Cue>,
    /// Start a killed node again, with the data it had.
    #[arg(long, value_name = "NODE@TIME")]
    restart: Vec<Cue>,
    /// Let a node stand still (SIGSTOP): its connections stay, and nothing is answered.
    #[arg(long, value_name = "NODE@TIME")]
    stop: Vec<Cue>,
    /// Let it go on (SIGCONT).
    #[arg(long, value_name = "NODE@TIME")]
    cont: Vec<Cue>,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    cluster: LocalArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the subcommand.
///
/// # Errors
/// A script that makes no sense (nothing is started then), no local cluster, or a file that cannot be written.
pub(super) fn run(args: &TimelineArgs) -> anyhow::Result<Outcome> {
    let settings = args.load.check()?;
    let options = args.cluster.options();
    let names: Vec<String> = (1..=options.nodes).map(|number| format!("n{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let script = Script::new(args.deeds(), &names, settings.duration).map_err(|error| UsageError(error.to_string()))?;
    args.output.try_to_write()?;
    let report = block_on(until_interrupted(args.play(&settings, script)))?;
    args.output.publish(&report, table::render_timeline)
}

impl TimelineArgs {
    fn deeds(&self) -> Vec<Deed> {
        let acts = [
            (Act::Kill, &self.kill),
            (Act::Restart, &self.restart),
            (Act::Stop, &self.stop),
            (Act::Continue, &self.cont),
        ];
        let deeds = acts.into_iter().flat_map(|(act, cues)| cues.iter().map(move |cue| Deed { act, cue: cue.clone() }));
        deeds.collect()
    }

    async fn play(&self, settings: &Settings, script: Script) -> anyhow::Result<Report> {
        let local = start(&self.cluster.options()).await?;
        let client = connect(&local, settings.timeout).await?;
        let target = local_target(&client, &local, settings.timeout).await?;
        let mut audience = Audience { show: Show::default(), stage: Stage::set(local, script)? };
        let run = target.run(settings, Preparation::Load, &mut audience).await;
        let Audience { mut show, stage } = audience;
        show.finish();
        let cluster = target.cluster;
        client.close().await;
        // What went wrong on the stage is why the run went wrong, when both did.
        let (_local, events) = stage.end()?;
        let mut run = run?;
        run.events = events;
        Ok(Report::new(cluster, vec![run]))
    }
}

/// Sees the run, and tells the stage when it begins.
struct Audience {
    show: Show,
    stage: Stage,
}

impl Watch for Audience {
    fn began(&mut self, at: std::time::Instant) {
        self.show.began(at);
        self.stage.begin(at);
    }

    fn progress(&mut self, progress: &Progress) {
        self.show.progress(progress);
    }

    fn appeared(&mut self) -> Vec<Watched> {
        self.stage.appeared()
    }
}
