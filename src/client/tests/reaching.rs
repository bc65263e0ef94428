//! Who is asked when owners cannot be reached, and how soon: any node takes any request.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::fixture::*;
use crate::client::*;
use crate::protocol::types::NodeId;
use crate::protocol::wire::{FailureCode, Kind};

/// Five nodes, and a client that is connected to all of them.
async fn five() -> (Arc<Fake>, Client) {
    let fake = Fake::start_of(5).await;
    let client = fake.client().await;
    for n in 0..40 {
        client.put(address(&format!("warm {n}")), "x").send().await.unwrap();
    }
    fake.log.lock().unwrap().clear();
    (fake, client)
}

fn asked(fake: &Fake, kind: Kind) -> Vec<NodeId> {
    fake.asked(kind).iter().map(|asked| asked.node).collect()
}

/// A user on the smaller side of a cut could write nothing whose owners are all on the other side.
#[tokio::test]
async fn another_node_is_asked_when_no_owner_can_be_reached() {
    let (fake, client) = five().await;
    let item = address("item");
    fake.owners(&item).iter().for_each(|owner| owner.stop());
    client.put(item.clone(), "x").send().await.unwrap();
    let others: Vec<NodeId> = fake.others(&item).iter().map(|node| node.id).collect();
    let took: Vec<NodeId> = asked(&fake, Kind::Put).into_iter().filter(|node| others.contains(node)).collect();
    assert_eq!(took.len(), 1, "one of {others:?} took the write, and was asked once");
    assert_eq!(client.get(item).send().await.unwrap().single().unwrap().bytes, "x");
}

/// A client that has just begun knows no node to be up: it must find those that are.
#[tokio::test]
async fn fresh_client_finds_the_nodes_that_run_whoever_owns_the_item() {
    let fake = Fake::start_of(5).await;
    let item = address("item");
    fake.owners(&item).iter().for_each(|owner| owner.stop());
    let mut options = fake.options();
    options.nodes = fake.others(&item).iter().map(|node| fake.addresses()[node.index()]).collect();
    let client = within("a view", Client::connect(options)).await.unwrap();
    client.put(item.clone(), "x").send().await.unwrap();
    assert_eq!(client.get(item).send().await.unwrap().single().unwrap().bytes, "x");
}

#[tokio::test]
async fn others_are_not_asked_while_an_owner_can_be_reached() {
    let (fake, client) = five().await;
    let item = address("item");
    let owners = fake.owners(&item);
    owners[0].stop();
    owners[1].stop();
    for _ in 0..20 {
        client.put(item.clone(), "x").send().await.unwrap();
    }
    let asked = asked(&fake, Kind::Put);
    assert!(asked.iter().all(|node| owners.iter().any(|owner| owner.id == *node)), "{asked:?}");
}

/// An owner's account is worth more than that of a node which could only ask the owner again.
#[tokio::test]
async fn others_are_not_asked_after_an_owner_has_answered() {
    let (fake, client) = five().await;
    let item = address("item");
    let owners = fake.owners(&item);
    owners[0].stop();
    owners[1..].iter().for_each(|owner| owner.feel(Mood::Refuses(FailureCode::QuorumNotMet)));
    let error = client.put(item.clone(), "x").send().await.unwrap_err();
    assert!(error.is_quorum_not_met(), "{error}");
    let asked = asked(&fake, Kind::Put);
    assert!(asked.iter().all(|node| owners.iter().any(|owner| owner.id == *node)), "{asked:?}");
}

/// A node that passes requests on may reach less than another one: only an owner's account ends the search.
#[tokio::test]
async fn next_node_is_asked_after_one_that_could_not_pass_the_request_on() {
    let (fake, client) = five().await;
    let item = address("item");
    fake.owners(&item).iter().for_each(|owner| owner.stop());
    let others = fake.others(&item);
    for other in &others {
        other.feel(Mood::RefusesOne(FailureCode::QuorumNotMet));
    }
    client.put(item.clone(), "x").send().await.unwrap();
    let took: std::collections::BTreeSet<NodeId> = asked(&fake, Kind::Put).into_iter().collect();
    assert!(others.iter().all(|other| took.contains(&other.id)), "{took:?}");
}

#[tokio::test]
async fn owner_that_comes_back_is_asked_first_again() {
    let (fake, client) = five().await;
    let item = address("item");
    let owners = fake.owners(&item);
    for owner in &owners {
        owner.stop();
    }
    client.put(item.clone(), "x").send().await.unwrap();
    fake.run(&owners[1], 2).await;
    within("the owner", async {
        loop {
            fake.log.lock().unwrap().clear();
            client.get(item.clone()).send().await.unwrap();
            if asked(&fake, Kind::Get) == [owners[1].id] {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// A node that is stopped or cut off acknowledges nothing. Its connection ends after 12 s; a request must not wait so
/// long, nor for half of its time.
#[tokio::test]
async fn node_that_sends_nothing_at_all_costs_a_moment_and_is_avoided_until_it_is_heard() {
    let fake = Fake::start_of(5).await;
    let item = address("item");
    let owner = fake.owners(&item)[0].clone();
    let halt = fake.run_apart(&owner).await;
    let client = fake.client().await;
    let first_is_asked = async || {
        loop {
            fake.log.lock().unwrap().clear();
            client.get(item.clone()).send().await.unwrap();
            if asked(&fake, Kind::Get) == [owner.id] {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within("the first owner's line", first_is_asked()).await;

    halt.halt();
    fake.log.lock().unwrap().clear();
    let (timeout, began) = (Duration::from_secs(20), Instant::now());
    let written = client.put(item.clone(), "x").timeout(timeout).send().await.unwrap();
    assert!(began.elapsed() < timeout / 4, "{:?}: half of the time would be {:?}", began.elapsed(), timeout / 2);
    assert_ne!(asked(&fake, Kind::Put), [owner.id]);
    for _ in 0..20 {
        client.get(item.clone()).send().await.unwrap();
    }
    assert!(!asked(&fake, Kind::Get).contains(&owner.id), "it is not asked meanwhile");

    halt.go_on();
    within("the first owner again", first_is_asked()).await;
    // It has carried out now what it was asked first, with the same write id.
    let read = client.get(item).send().await.unwrap();
    assert_eq!((read.values.len(), read.values[0].write_id), (1, written.write_id));
}

/// All owners stand still, as behind a cut: the others are asked, each after a moment, within one request.
#[tokio::test]
async fn silent_owners_are_left_one_after_the_other_within_a_request() {
    let fake = Fake::start_of(5).await;
    let item = address("item");
    let mut halts = Vec::new();
    for owner in fake.owners(&item) {
        halts.push(fake.run_apart(&owner).await);
    }
    let client = fake.client().await;
    for n in 0..40 {
        client.put(address(&format!("warm {n}")), "x").send().await.unwrap();
    }
    halts.iter().for_each(Halt::halt);
    let others: Vec<NodeId> = fake.others(&item).iter().map(|node| node.id).collect();
    fake.log.lock().unwrap().clear();
    client.put(item.clone(), "x").send().await.unwrap();
    assert!(asked(&fake, Kind::Put).iter().any(|node| others.contains(node)));
}
