//! Scans find what a write quorum holds.

use std::collections::BTreeSet;

use super::fixture::*;
use crate::client::*;
use crate::protocol::types::{Address, TableName};

async fn all(client: &Client, table: Option<&'static str>) -> Vec<Address> {
    let mut scan = client.scan(table.map(|table| TableName::new(table.into()).unwrap()));
    let mut found = Vec::new();
    while let Some(address) = within("the next address", scan.next()).await.unwrap() {
        found.push(address);
    }
    assert_eq!(scan.partitions_left(), 0);
    assert!(scan.next().await.unwrap().is_none());
    found
}

/// Fifty items, each missing on one node: two owners of three are needed to see them all.
async fn gappy() -> (std::sync::Arc<Fake>, Client, BTreeSet<Address>) {
    let fake = Fake::start().await;
    let client = fake.client().await;
    let mut items = BTreeSet::new();
    for n in 0..50_usize {
        let address = address(&format!("item {n}"));
        client.put(address.clone(), "x").send().await.unwrap();
        fake.nodes[n % 3].items.lock().unwrap().remove(&item_key(&address));
        items.insert(address);
    }
    (fake, client, items)
}

#[tokio::test]
async fn items_that_one_owner_lacks_are_found_once_and_in_order() {
    let (_fake, client, items) = gappy().await;
    let found = all(&client, None).await;
    assert_eq!(found.len(), items.len());
    assert_eq!(found.iter().cloned().collect::<BTreeSet<_>>(), items);
    assert!(found.windows(2).all(|pair| item_key(&pair[0]) < item_key(&pair[1])));
    assert_eq!(all(&client, None).await, found);
}

#[tokio::test]
async fn every_item_is_found_while_a_node_is_down() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    let mut items = BTreeSet::new();
    fake.nodes[1].stop();
    for n in 0..50_usize {
        let address = address(&format!("item {n}"));
        client.put(address.clone(), "x").send().await.unwrap();
        items.insert(address);
    }
    assert_eq!(all(&client, None).await.into_iter().collect::<BTreeSet<_>>(), items);
}

#[tokio::test]
async fn node_that_stops_in_the_middle_is_replaced() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    let mut items = BTreeSet::new();
    for n in 0..50_usize {
        let address = address(&format!("item {n}"));
        client.put(address.clone(), "x").send().await.unwrap();
        items.insert(address);
    }
    let mut scan = client.scan(None);
    let mut found = BTreeSet::new();
    for n in 0.. {
        if n == 10 {
            fake.nodes[0].stop();
        }
        let Some(address) = within("the next address", scan.next()).await.unwrap() else { break };
        assert!(found.insert(address), "an address came twice");
    }
    assert_eq!(found, items);
}

#[tokio::test]
async fn too_few_owners_are_an_error_and_not_a_short_list() {
    let (fake, client, _) = gappy().await;
    let mut options = fake.options();
    options.timeouts.request = std::time::Duration::from_millis(300);
    let impatient = Client::connect(options).await.unwrap();
    drop(client);
    fake.nodes[0].stop();
    fake.nodes[1].stop();
    let mut scan = impatient.scan(None);
    let error = loop {
        match scan.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the list ended"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ClientError::ScanIncomplete { needed: 2, .. }), "{error}");
}

#[tokio::test]
async fn only_the_asked_table_is_listed() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    let other = Address::new("other".into(), "k".into(), "s".into()).unwrap();
    client.put(address("mine"), "x").send().await.unwrap();
    client.put(other.clone(), "x").send().await.unwrap();
    assert_eq!(all(&client, Some("other")).await, [other]);
}
