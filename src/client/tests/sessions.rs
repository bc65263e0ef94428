//! Connecting, reconnecting, administration.

use std::net::UdpSocket;
use std::time::Duration;

use super::fixture::*;
use crate::client::*;
use crate::pki::Role;
use crate::protocol::version::{TokenKey, TokenKeys};
use crate::protocol::wire::{Creation, FailureCode, Kind};

#[tokio::test]
async fn first_node_that_answers_is_enough() {
    let fake = Fake::start().await;
    // A port where nobody answers, and a node that is down.
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap();
    fake.nodes[0].stop();
    let mut options = fake.options();
    options.nodes.insert(0, nobody.local_addr().unwrap());
    let client = within("a view", Client::connect(options)).await.unwrap();
    for n in 0..20 {
        client.put(address(&format!("key {n}")), "x").send().await.unwrap();
    }
}

#[tokio::test]
async fn every_node_that_was_tried_is_in_the_error() {
    let fake = Fake::start().await;
    let mut options = fake.options();
    options.timeouts.connect = Duration::from_millis(400);
    fake.nodes.iter().for_each(|node| node.stop());
    let error = within("an end", Client::connect(options.clone())).await.map(drop).unwrap_err().to_string();
    for address in fake.addresses() {
        assert!(error.contains(&address.to_string()), "{error}");
    }
    options.nodes.clear();
    assert!(matches!(Client::connect(options).await, Err(ClientError::NoNodes)));
}

#[tokio::test]
async fn certificate_of_another_cluster_is_refused() {
    let (fake, other) = (Fake::start().await, Fake::start().await);
    let mut options = fake.options();
    options.nodes = other.addresses();
    assert!(matches!(Client::connect(options).await, Err(ClientError::NoAnswer { .. })));
}

#[tokio::test]
async fn node_that_comes_back_with_other_ports_is_used_again() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    let item = address("item");
    let first = fake.owners(&item)[0].clone();
    client.put(item.clone(), "x").send().await.unwrap();
    first.stop();
    client.put(item.clone(), "y").send().await.unwrap();
    fake.run(&first, 3).await;
    within("the first owner", async {
        loop {
            fake.log.lock().unwrap().clear();
            client.get(item.clone()).send().await.unwrap();
            let asked = fake.asked(Kind::Get);
            if asked.iter().any(|asked| asked.node == first.id) {
                return assert_eq!(asked[0].shard, partition(&item).as_index() % 3);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn status_is_asked_by_name_or_id() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    assert_eq!(client.status("n2").await.unwrap().node, fake.nodes[1].id);
    assert_eq!(client.status(&fake.nodes[2].id.to_string()).await.unwrap().name, "n3");
    assert!(matches!(client.status("n9").await, Err(ClientError::NoSuchNode(name)) if name == "n9"));
}

#[tokio::test]
async fn only_administrators_create() {
    let fake = Fake::start().await;
    let view = fake.view.lock().unwrap().clone();
    let creation = Creation {
        cluster: view.cluster,
        roster: view.roster,
        parameters: view.parameters,
        layout: view.layout,
        token_keys: TokenKeys { current: TokenKey::new(1, [9; 16]), previous: None },
        tables: Vec::new(),
    };
    let dial =
        async |role| Control::dial(&fake.credentials(role), fake.addresses()[0], Duration::from_secs(5)).await.unwrap();
    let client = dial(Role::client("app").unwrap()).await;
    client.ping().await.unwrap();
    assert_eq!(client.node(), Some(fake.nodes[0].id));
    let refused = client.state().await.unwrap_err();
    assert_eq!(refused.code(), Some(FailureCode::NotAllowed), "{refused}");

    let admin = dial(Role::admin("ops").unwrap()).await;
    assert_eq!(admin.state().await.unwrap().creation, None);
    assert_eq!(admin.create(&creation).await.unwrap().creation, Some(creation.clone()));
    assert_eq!(admin.state().await.unwrap().creation, Some(creation));
    admin.close().await;
}

#[test]
fn client_works_from_another_runtime_than_its_own() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (home, away) = (runtime(), runtime());
    let (_fake, client) = home.block_on(async {
        let fake = Fake::start().await;
        let client = fake.client().await;
        (fake, client)
    });
    away.block_on(async { client.put(address("item"), "x").send().await.unwrap() });
    // Its own runtime is gone: nothing hangs.
    drop(home);
    let error = away.block_on(async {
        client.get(address("item")).timeout(Duration::from_millis(200)).send().await.map(drop).unwrap_err()
    });
    assert!(matches!(error, ClientError::Unanswered { .. }), "{error}");
}
