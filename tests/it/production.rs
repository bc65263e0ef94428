//! "Run it in production" of README.md, typed as it stands there: three machines, each with a systemd of its own, the
//! real package, the real units, and an administrator beside them.
//!
//! | in the README | here |
//! |---|---|
//! | `admin$` | the directory of an administrator, on 10.0.0.100 |
//! | `each#` | root on each of n1, n2 and n3: copies of this machine, on 10.0.0.1, 10.0.0.2 and 10.0.0.3 |
//! | `scp` | copies into their files; there is no ssh between them |
//!
//! Everything else is what the commands say: apt, systemctl, quorate. How the machines are made is in `world.sh`. They
//! are made by root (or `sudo -n`), because only root may mount, and they end with their process space.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cluster::text_of;
use super::command::shell_within;
use super::process::PROGRAM;
use std::time::Duration;

/// At most so many commands, says the issue of a newcomer's patience.
const COMMANDS_MAX: usize = 10;
/// Three machines boot, install and start in half a minute on two idle cores.
const WITHIN: Duration = Duration::from_secs(240);

/// What the machines have to be after the README's commands; `on` is a command on one of them.
const CHECKS: &str = r#"
show() { on "$1" systemctl show quorate --property="$2"; }
for machine in n1 n2 n3; do
    until_succeeds "$machine is a member" on "$machine" 'systemctl show quorate --property=StatusText | grep member'
    show "$machine" ActiveState,SubState,StatusText,NRestarts,Type,WatchdogUSec
    on "$machine" stat --format="'%a %U:%G %n'" /etc/quorate /etc/quorate/node.key /var/lib/quorate
done
say "--- a reload with systemctl"
on n1 sed -i "'s/# level = \"info\"/level = \"debug\"/'" /etc/quorate/quorate.toml
on n1 systemctl reload quorate
show n1 StatusText
show n1 NRestarts
say "--- a stopped process is ended by the watchdog and started again"
on n2 mkdir -p /run/systemd/system/quorate.service.d
on n2 "printf '[Service]\nWatchdogSec=4\n' > /run/systemd/system/quorate.service.d/soon.conf"
on n2 systemctl daemon-reload
on n2 systemctl restart quorate
on n2 'kill -STOP "$(systemctl show quorate --property=MainPID --value)"'
until_succeeds "n2 is started again" on n2 'systemctl show quorate --property=NRestarts | grep NRestarts=[1-9]'
until_succeeds "n2 runs again" on n2 systemctl is-active quorate
on n2 'journalctl --unit quorate --no-pager --quiet | grep -m1 -o "Watchdog timeout"'
say "--- the same package again"
before=$(show n1 MainPID)
on n1 'dpkg --install quorate_*.deb'
[[ "$before" == "$(show n1 MainPID)" ]] || die "an upgrade has restarted the node"
on n1 grep "'^level = \"debug\"'" /etc/quorate/quorate.toml
say "--- removed, and purged"
on n3 apt-get remove --yes --quiet=2 quorate
on n3 'systemctl is-active quorate || true'
on n3 'ls /usr/bin/quorate /usr/lib/systemd/system/quorate.service /usr/share/man/man1/quorate.1.gz 2>&1 || true'
on n3 ls /etc/quorate/quorate.toml /etc/quorate/node.key
on n3 apt-get purge --yes --quiet=2 quorate
on n3 'ls /etc/quorate/quorate.toml 2>&1 || true'
on n3 ls /etc/quorate/node.key
on n3 'test "$(ls /var/lib/quorate | wc -l)" -gt 1 && echo "the data is still there"'
(cd "$dir/admin" && PATH="$dir/bin:$PATH" quorate --profile client.toml get greeting)
"#;

fn readme() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("a file of the project")
}

/// The commands of the section: who types, and what.
fn commands(readme: &str) -> Vec<(String, String)> {
    let section = readme.split("\n## Run it in production\n").nth(1).expect("README.md has this section");
    let block = section.split("```").nth(1).expect("it has a block of commands");
    let mut commands: Vec<(String, String)> = Vec::new();
    let mut open = false;
    for line in block.lines().filter(|line| !line.is_empty()) {
        let (text, goes_on) = line.strip_suffix('\\').map_or((line, false), |text| (text, true));
        if open {
            commands.last_mut().expect("only a command goes on").1.push_str(text.trim_start());
        } else if let Some((who, text)) = text.split_once("$ ").or_else(|| text.split_once("# ")) {
            commands.push((who.trim().to_owned(), text.trim_start().to_owned()));
        } else {
            panic!("no command: {line:?}");
        }
        open = goes_on;
    }
    commands
}

/// The package of the program under test.
fn package(directory: &Path) -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/package");
    let output = Command::new(script).arg(PROGRAM).arg(directory).output().expect("bash");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {said}\n`.ci/deps package` installs what it needs");
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}

#[test]
fn package_has_everything_a_node_needs_and_starts_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let package = package(directory.path());
    let tool = |arguments: &[&str]| {
        let output = Command::new("dpkg-deb").args(arguments).output().expect("dpkg-deb");
        assert!(output.status.success(), "dpkg-deb {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let path = text_of(&package);
    let contents = tool(&["--contents", &path]);
    for file in [
        "./usr/bin/quorate",
        "./etc/quorate/quorate.toml",
        "./usr/lib/systemd/system/quorate.service",
        "./usr/lib/systemd/system/quorate@.service",
        "./usr/lib/sysusers.d/quorate.conf",
        "./usr/lib/tmpfiles.d/quorate.conf",
        "./usr/share/man/man1/quorate.1.gz",
        "./usr/share/man/man1/quorate-cluster-create.1.gz",
        "./usr/share/bash-completion/completions/quorate",
        "./usr/share/zsh/vendor-completions/_quorate",
        "./usr/share/fish/vendor_completions.d/quorate.fish",
    ] {
        assert!(contents.lines().any(|line| line.ends_with(file)), "no {file} in {contents}");
    }
    let about = tool(&["--field", &path]);
    let version = format!("Version: {}", env!("CARGO_PKG_VERSION"));
    assert!(about.contains(&version) && about.contains("libc6 (>= "), "{about}");
    let control = directory.path().join("control");
    tool(&["--control", &path, &text_of(&control)]);
    assert_eq!(fs::read_to_string(control.join("conffiles")).expect("conffiles"), "/etc/quorate/quorate.toml\n");
    let postinst = fs::read_to_string(control.join("postinst")).expect("a script");
    assert!(!postinst.contains("systemctl start") && !postinst.contains("deb-systemd"), "{postinst}");
    // Debug information is for developers: the installed program is a fraction of what was built.
    tool(&["--extract", &path, &text_of(&directory.path().join("files"))]);
    let size = |path: &Path| fs::metadata(path).expect("a program").len();
    assert!(size(&directory.path().join("files/usr/bin/quorate")) < size(Path::new(PROGRAM)), "it was not stripped");
}

#[test]
fn readme_runs_in_production_as_it_is_written() {
    let commands = commands(&readme());
    assert!((5..=COMMANDS_MAX).contains(&commands.len()), "{} commands: {commands:#?}", commands.len());
    let directory = tempfile::tempdir().expect("a temporary directory");
    let package = package(directory.path());
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).expect("our own directory");
        text_of(&path)
    };
    let typed: Vec<String> = commands.iter().map(|(who, command)| format!("{who}\t{command}\n")).collect();
    let typed = typed.concat();
    let (typed, checks) = (file("commands", &typed), file("checks", CHECKS));
    let world = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/world.sh");
    let inside = format!("{} {PROGRAM} {} {typed} {checks}", text_of(directory.path()), text_of(&package));
    let line = format!(
        "if test \"$(id -u)\" -ne 0; then root='sudo -n'; fi; \
         $root unshare --mount --net --pid --fork --kill-child --mount-proc bash {world} {inside}"
    );
    let ran = shell_within(&line, directory.path(), WITHIN).expect_code(0);
    let said = ran.text();
    let has = |words: &str, count: usize| {
        let found = said.matches(words).count();
        assert!(found >= count, "{words:?} {found} times, not {count}, in\n{ran}");
    };
    has("quorate: not started. Put node.crt", 3);
    has("stored on n", 1);
    for words in ["Type=notify", "ActiveState=active", "SubState=running", "WatchdogUSec=30s"] {
        has(words, 3);
    }
    has("StatusText=member, serves 64 partitions", 3);
    for words in
        ["750 root:quorate /etc/quorate", "600 quorate:root /etc/quorate/node.key", "700 quorate:quorate /var/lib"]
    {
        has(words, 3);
    }
    has("NRestarts=0", 4);
    has("StatusText=reloaded: log level: debug instead of info", 1);
    has("Watchdog timeout", 1);
    has("the old version still runs; when this machine's turn comes: systemctl restart quorate.service", 1);
    has("--- removed, and purged", 1);
    has("inactive", 1);
    has("cannot access '/usr/bin/quorate'", 1);
    has("cannot access '/etc/quorate/quorate.toml'", 1);
    has("has data and stays", 1);
    has("the data is still there", 1);
    // Two of three machines are left, and the item is still there.
    assert!(said.ends_with("hello--- done\n"), "{ran}");
}
