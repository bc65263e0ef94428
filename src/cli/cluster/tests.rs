//! Tests of `cluster create`: what it refuses, and that a retry is success.

use clap::Parser as _;

use super::*;

#[derive(clap::Parser)]
struct Program {
    #[command(flatten)]
    args: CreateArgs,
}

fn check(line: &str) -> Result<Plan, String> {
    let words = ["create"].into_iter().chain(line.split_whitespace());
    Program::try_parse_from(words).unwrap().args.check().map_err(|error| error.to_string())
}

const NODES: &str = "n1=127.0.0.1:1 n2=127.0.0.1:2 n3=127.0.0.1:3";

#[test]
fn zones_weights_and_tables_find_their_place() {
    let plan = check(&format!("{NODES} --zone n2=b --weight n3=5 --table t=lww --table a=siblings")).unwrap();
    assert_eq!((plan.partitions, plan.replicas), (64, 3));
    assert_eq!(plan.members[1].zone, "b");
    assert_eq!((plan.members[2].weight, plan.members[0].weight), (5, 1));
    let names: Vec<_> = plan.tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["a", "t"]);
}

#[test]
fn plan_that_cannot_be_is_a_usage_error() {
    for (line, words) in [
        (format!("{NODES} --zone n9=b"), "the command has no node n9"),
        (format!("{NODES} --weight n9=2"), "the command has no node n9"),
        (format!("{NODES} --replicas 4"), "the command names 3"),
        (format!("{NODES} --table T=lww"), "a-z"),
        (format!("{NODES} --table t=lww --table t=siblings"), "twice"),
    ] {
        let error = check(&line).unwrap_err();
        assert!(error.contains(words), "{line}: {error}");
    }
}

fn state(node: u128, creation: Option<Creation>) -> NodeState {
    NodeState { node: crate::protocol::types::NodeId::new(node), name: "x".to_owned(), creation }
}

#[test]
fn new_records_have_seeds_of_their_own_and_the_nodes_ids() {
    let plan = check(NODES).unwrap();
    let states = [state(3, None), state(1, None), state(2, None)];
    let a = plan.creation(ClusterId::new(7), &states).unwrap();
    let b = plan.creation(ClusterId::new(7), &states).unwrap();
    assert_ne!((a.parameters.hash_seed, a.token_keys), (b.parameters.hash_seed, b.token_keys));
    assert_eq!(a.roster.member(crate::protocol::types::NodeId::new(3)).unwrap().name, "n1");
    assert_eq!(Layout::verified(&a.roster, a.parameters, a.layout).unwrap().id(), a.layout);
}

#[test]
fn existing_record_is_reused_or_refused() {
    let plan = check(NODES).unwrap();
    let waiting = [state(1, None), state(2, None), state(3, None)];
    let (a, b) =
        (plan.creation(ClusterId::new(7), &waiting).unwrap(), plan.creation(ClusterId::new(7), &waiting).unwrap());
    let partly = [state(1, None), state(2, Some(a.clone())), state(3, None)];
    assert_eq!(plan.creation(ClusterId::new(7), &partly).unwrap(), a);
    let two = [state(1, Some(b.clone())), state(2, Some(a.clone())), state(3, None)];
    let error = plan.creation(ClusterId::new(7), &two).unwrap_err().to_string();
    assert!(error.contains(&a.layout.to_string()) && error.contains(&b.layout.to_string()), "{error}");
    let other = check(&format!("{NODES} --partitions 128")).unwrap();
    let error = other.creation(ClusterId::new(7), &partly).unwrap_err().to_string();
    assert!(error.contains("partitions (64 there)") && error.contains("nothing was changed"), "{error}");
}

#[test]
fn node_that_is_named_twice_is_refused() {
    let plan = check(NODES).unwrap();
    let error = plan.creation(ClusterId::new(7), &[state(1, None), state(1, None), state(2, None)]).unwrap_err();
    assert!(error.to_string().contains("twice"), "{error}");
}
