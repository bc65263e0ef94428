//! Examples for `--help` and the man pages, one table for all subcommands.
//!
//! They are apart from the definitions of the arguments so that a test can walk both: every subcommand has an example,
//! and every example is a command line that parses.

use std::fmt::Write as _;

use clap::Command;

/// A command line, and what it is good for.
type Example = (&'static str, &'static str);

/// By subcommand, as it is typed after `quorate`.
pub(super) const EXAMPLES: &[(&str, &[Example])] = &[
    (
        "dev",
        &[
            ("quorate dev", "three nodes on this machine, data and certificates in .quorate"),
            ("quorate dev --ephemeral --log warn", "the same, leaving nothing behind"),
        ],
    ),
    (
        "server",
        &[
            ("quorate server --config /etc/quorate/quorate.toml", "as the systemd unit runs it"),
            (
                "quorate server --config /etc/quorate/quorate.toml --accept-loss",
                "once, by hand, after a power loss without sync durability, when no copy elsewhere can be waited for",
            ),
        ],
    ),
    (
        "sim",
        &[
            ("quorate sim --seed 17", "one world: all that it draws, and how it ended"),
            ("quorate sim --seeds 0..1000", "a thousand; the first that breaks a promise ends it"),
            ("quorate sim --soak --minutes 30", "fresh seeds for half an hour"),
        ],
    ),
    (
        "put",
        &[
            ("quorate put greeting 'hello, world'", "beside what is there, as a sibling"),
            ("quorate put cart @cart.json --table carts --context AQF5", "in place of what a get showed"),
            ("quorate put log - --sort 2026-11-25 -w 3", "from standard input, on three nodes"),
        ],
    ),
    (
        "get",
        &[
            ("quorate get greeting", "the value; exit code 3 with siblings, 4 when there is none"),
            ("quorate get cart --table carts --json", "all versions with dots, times and context"),
            ("quorate get cart --table carts --strict -r 3", "from all three owners"),
        ],
    ),
    (
        "delete",
        &[
            ("quorate delete greeting", "what a quorum holds now"),
            ("quorate delete cart --table carts --context AQF5", "only what a get showed"),
        ],
    ),
    (
        "status",
        &[
            ("quorate status", "every node: its state, what it stores, what it keeps for others, since when in sync"),
            ("quorate status --json", "the same for scripts, and more"),
        ],
    ),
    (
        "top",
        &[
            ("quorate top", "requests and latencies of every node, each second, until q"),
            ("quorate top --once", "one frame in plain text, after one interval"),
            ("quorate top --once --interval 10s --json", "the rates of ten seconds, for a script"),
        ],
    ),
    (
        "key inspect",
        &[
            ("quorate key inspect cart --table carts", "its partition, its owners, and what each of them holds"),
            ("quorate key inspect cart --table carts --node n2 --json", "one node's copy, for a script"),
        ],
    ),
    (
        "bench run",
        &[
            ("quorate bench run", "half reads, half writes of 1 KiB, 64 in flight: how much, and what it costs"),
            (
                "quorate bench run --local --durability sync --html run.html",
                "on three processes that are started for it and removed; a page with plots",
            ),
            (
                "quorate bench run --workload b --keys 1000000 --rate 5000 --poisson --duration 60s",
                "YCSB's workload B at a rate that users might have: what they would wait",
            ),
            (
                "quorate bench run --mix get=60,put=30,delete=10 --distribution zipfian --verify",
                "every value that is read is checked against what was acknowledged",
            ),
            (
                "quorate bench run --mix put --processes 2 --in-flight 256 --out put.json",
                "more load than one thread makes; the report as JSON too",
            ),
        ],
    ),
    (
        "bench search",
        &[
            ("quorate bench search --local --p99 5ms", "the most that three processes on this machine serve in time"),
            (
                "quorate bench search --p99 20ms --workload b --value-size 100-2000 --out search.json",
                "YCSB's workload B on the cluster of the profile; every step in the report",
            ),
        ],
    ),
    (
        "bench timeline",
        &[
            (
                "quorate bench timeline --kill n2@20s --restart n2@40s --html timeline.html",
                "a minute in which a node dies and comes back, and what users notice of it",
            ),
            (
                "quorate bench timeline --stop n1@5s --cont n1@15s --duration 30s --rate 500",
                "a node that stands still with its connections open",
            ),
        ],
    ),
    (
        "bench suite",
        &[
            ("quorate bench suite", "three minutes: target/bench/report.json and report.html"),
            ("quorate bench suite --repeat 3 --out-dir before", "as one side of a comparison"),
            ("quorate bench suite --server ./quorate-old --out-dir old", "the nodes run another version"),
        ],
    ),
    (
        "bench floor",
        &[
            ("quorate bench floor", "what QUIC and RocksDB alone cost on this machine"),
            ("quorate bench floor --value-size 4096 --in-flight 512,32 --time 3s", "for larger values, more exactly"),
        ],
    ),
    (
        "bench compare",
        &[(
            "quorate bench compare before/report.json after/report.json",
            "better, worse, or no difference beyond noise",
        )],
    ),
    (
        "bench page",
        &[("quorate bench page put.json --out put.html", "a report that was written with --out, with plots")],
    ),
    (
        "cluster create",
        &[
            (
                "quorate cluster create n1=10.0.0.1:7400 n2=10.0.0.2:7400 n3=10.0.0.3:7400 --admin alice",
                "with certs/alice.crt and its key; the same command again completes what was begun",
            ),
            (
                "quorate cluster create n1=10.0.0.1:7400 n2=10.0.1.1:7400 n3=10.0.2.1:7400 --admin alice \
                 --zone n1=a --zone n2=b --zone n3=c --table sessions=lww",
                "each copy in another zone, and one table that keeps the last write only",
            ),
        ],
    ),
    (
        "import",
        &[
            ("quorate import items.jsonl", "repeat it after a failure: it goes on, and doubles nothing"),
            ("quorate import items.jsonl --table carts --existing replace", "over what is there"),
        ],
    ),
    (
        "export",
        &[
            ("quorate export --output items.jsonl", "everything"),
            ("quorate export --table carts | gzip > carts.jsonl.gz", "one table, compressed"),
        ],
    ),
    ("cert ca", &[("quorate cert ca", "certs/ca.crt for everyone, certs/ca.key for nobody but you")]),
    (
        "cert node",
        &[
            ("quorate cert node n1", "certs/n1.crt and n1.key"),
            ("quorate cert node n1 --host kv1.example.org --days 90", "for HTTP over TLS under that name, for 90 days"),
        ],
    ),
    ("cert client", &[("quorate cert client app", "for a program that reads and writes items")]),
    ("cert admin", &[("quorate cert admin alice", "for a person who changes the cluster")]),
    (
        "cert renew",
        &[
            ("quorate cert renew n1", "the same identity and hosts, a new key, in place of the files that are there"),
            (
                "quorate cert renew n1 --dir certs-new --from certs/n1.crt",
                "under the authority that replaces the old one",
            ),
        ],
    ),
    (
        "cert show",
        &[
            ("quorate cert show", "everything in ./certs: who, by whom, until when"),
            (
                "quorate cert show /etc/quorate/node.crt --within 30d",
                "fails when it ends within a month: for a cron job",
            ),
        ],
    ),
    ("cert revoke", &[("quorate cert revoke certs/app.crt", "puts it on certs/ca.crl, which every node is to have")]),
    (
        "config reference",
        &[("quorate config reference > quorate.toml", "every field with its meaning and its default")],
    ),
    (
        "config check",
        &[
            ("quorate config check /etc/quorate/quorate.toml", "before a start or a reload"),
            (
                "quorate config check /etc/quorate/quorate.toml --tls --show",
                "certificates too, and all that is in effect",
            ),
        ],
    ),
    ("man", &[("quorate man /usr/local/share/man/man1", "quorate.1, quorate-put.1 and so on")]),
    (
        "completions",
        &[
            ("quorate completions bash > ~/.local/share/bash-completion/completions/quorate", "for bash"),
            ("quorate completions fish > ~/.config/fish/completions/quorate.fish", "for fish"),
        ],
    ),
];

/// Gives every subcommand its examples.
pub(super) fn attach(command: Command) -> Command {
    EXAMPLES.iter().fold(command, |command, (path, examples)| {
        let names: Vec<&str> = path.split(' ').collect();
        attach_to(command, &names, &text(examples))
    })
}

fn attach_to(command: Command, names: &[&str], text: &str) -> Command {
    let Some((name, rest)) = names.split_first() else { return command.after_long_help(text.to_owned()) };
    // A row for a subcommand that is gone is found by a test; a user must not meet it.
    if command.find_subcommand(name).is_none() {
        return command;
    }
    command.mut_subcommand(name, |inner| attach_to(inner, rest, text))
}

fn text(examples: &[Example]) -> String {
    let mut text = "Examples:".to_owned();
    for (line, what) in examples {
        write!(text, "\n  {line}\n      {what}").expect("a String takes all that is written to it");
    }
    text
}
