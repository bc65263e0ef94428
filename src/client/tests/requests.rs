//! Gets and puts: where they go, what is retried, what is checked.

use std::time::Duration;

use super::fixture::*;
use crate::client::*;
use crate::protocol::wire::{FailureCode, Kind};

#[tokio::test]
async fn values_siblings_and_deletes_come_back() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    let cart = address("cart");
    let absent = client.get(cart.clone()).send().await.unwrap();
    assert!(absent.is_absent() && absent.context.is_none());

    let first = client.put(cart.clone(), "bread").send().await.unwrap();
    assert_eq!((first.versions, first.stored.copies.len()), (1, 3));
    let second = client.put(cart.clone(), "milk").send().await.unwrap();
    assert_eq!(second.versions, 2);
    assert_ne!(first.write_id, second.write_id);

    let read = client.get(cart.clone()).r(3).strict().send().await.unwrap();
    let values: Vec<_> = read.values.iter().map(|value| &value.bytes[..]).collect();
    assert_eq!(values, [b"bread".as_slice(), b"milk"]);
    assert_eq!(read.values[0].write_id, first.write_id);
    let context: Context = read.context.to_string().parse().unwrap();
    assert_eq!(context, read.context);

    client.put(cart.clone(), "both").context(&context).w(2).send().await.unwrap();
    let read = client.get(cart.clone()).send().await.unwrap();
    assert_eq!(read.single().unwrap().bytes, "both");

    client.delete(cart.clone()).send().await.unwrap();
    let read = client.get(cart).send().await.unwrap();
    assert!(read.is_absent() && !read.context.is_none());
}

#[tokio::test]
async fn requests_go_to_the_first_owner_and_the_right_shard() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    // Every line is up after the first round.
    for round in 0..2 {
        fake.log.lock().unwrap().clear();
        for n in 0..40 {
            client.put(address(&format!("key {n}")), vec![b'x'; n]).send().await.unwrap();
        }
        for (n, asked) in fake.asked(Kind::Put).iter().enumerate().filter(|_| round == 1) {
            let address = address(&format!("key {n}"));
            assert_eq!(asked.node, fake.owners(&address)[0].id, "key {n}");
            assert_eq!(asked.shard, partition(&address).as_index() % 2, "key {n}");
            assert_eq!(asked.layout_hash, fake.layout().id().hash_prefix());
        }
    }
}

/// A user would have lost nothing, but found the value twice.
#[tokio::test]
async fn put_whose_answer_was_lost_is_repeated_with_its_write_id() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    let item = address("item");
    client.put(address("warm"), "x").send().await.unwrap();
    fake.log.lock().unwrap().clear();
    fake.nodes.iter().for_each(|node| node.feel(Mood::LosesOne));
    let written = client.put(item.clone(), "once").send().await.unwrap();
    let asked = fake.asked(Kind::Put);
    assert!(asked.len() > 1, "{asked:?}");
    assert!(asked.iter().all(|asked| asked.write_id == Some(written.write_id)), "{asked:?}");
    assert_ne!(asked[0].node, asked[1].node);
    assert_eq!(client.get(item).send().await.unwrap().values.len(), 1);
}

#[tokio::test]
async fn write_id_of_the_caller_is_kept() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    let id = client.next_write_id();
    for _ in 0..3 {
        let written = client.put(address("item"), "same").write_id(id).send().await.unwrap();
        assert_eq!((written.write_id, written.versions), (id, 1));
    }
}

#[tokio::test]
async fn stale_client_learns_the_new_layout_and_asks_again() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    client.put(address("item"), "old").send().await.unwrap();
    let old = client.view().layout;
    fake.rezone("cellar");
    client.put(address("item"), "new").send().await.unwrap();
    assert_ne!(client.view().layout, old);
    assert_eq!(client.view().layout, fake.layout().id());
}

#[tokio::test]
async fn answer_with_another_layout_makes_the_client_refresh_by_itself() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    fake.rezone("attic");
    // Gets are answered in any layout.
    client.get(address("item")).send().await.unwrap();
    until("the new view", || client.view().layout == fake.layout().id()).await;
}

#[tokio::test]
async fn damaged_version_is_found_and_another_owner_asked() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    let item = address("item");
    client.put(item.clone(), "whole").send().await.unwrap();
    let owners = fake.owners(&item);
    owners[0].feel(Mood::Damages);
    owners[1].feel(Mood::Damages);
    let read = client.get(item.clone()).send().await.unwrap();
    assert_eq!(read.single().unwrap().bytes, "whole");
    owners[2].feel(Mood::Damages);
    let error = client.get(item).send().await.unwrap_err();
    assert!(matches!(error, ClientError::Corrupt { .. }), "{error}");
}

#[tokio::test]
async fn quorum_that_no_owner_can_meet_is_reported_by_its_account() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    client.put(address("warm"), "x").send().await.unwrap();
    fake.log.lock().unwrap().clear();
    fake.nodes.iter().for_each(|node| node.feel(Mood::Refuses(FailureCode::QuorumNotMet)));
    let error = client.put(address("item"), "x").strict().w(3).send().await.unwrap_err();
    assert!(error.is_quorum_not_met(), "{error}");
    let mut nodes: Vec<_> = fake.asked(Kind::Put).iter().map(|asked| asked.node).collect();
    nodes.sort();
    assert_eq!(nodes, fake.nodes.iter().map(|node| node.id).collect::<Vec<_>>(), "each owner once");
}

#[tokio::test]
async fn refusal_for_good_is_not_repeated() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    fake.nodes.iter().for_each(|node| node.feel(Mood::Refuses(FailureCode::BadInput)));
    let error = client.get(address("item")).r(9).send().await.unwrap_err();
    assert_eq!(error.code(), Some(FailureCode::BadInput));
    assert_eq!(fake.asked(Kind::Get).len(), 1);
}

#[tokio::test]
async fn overloaded_cluster_is_asked_again() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    fake.nodes.iter().for_each(|node| node.feel(Mood::RefusesOne(FailureCode::Overloaded)));
    client.put(address("item"), "x").send().await.unwrap();
    let asked = fake.asked(Kind::Put);
    assert!(asked.windows(2).all(|pair| pair[0].write_id == pair[1].write_id), "{asked:?}");
}

#[tokio::test]
async fn silent_owner_costs_half_of_the_time_and_is_not_the_first_choice_then() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    let item = address("item");
    client.put(item.clone(), "x").send().await.unwrap();
    fake.owners(&item)[0].feel(Mood::Silent);
    client.get(item.clone()).timeout(Duration::from_secs(2)).send().await.unwrap();
    fake.log.lock().unwrap().clear();
    client.get(item.clone()).send().await.unwrap();
    let asked = fake.asked(Kind::Get);
    assert_eq!(asked.len(), 1);
    assert_ne!(asked[0].node, fake.owners(&item)[0].id);
}

#[tokio::test]
async fn nobody_answers_is_said_with_the_write_id() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    fake.nodes.iter().for_each(|node| node.feel(Mood::Silent));
    let id = client.next_write_id();
    let put = client.put(address("item"), "x").write_id(id).timeout(Duration::from_millis(300));
    let error = put.send().await.unwrap_err().to_string();
    assert!(error.contains("the write may still surface") && error.contains(&id.to_string()), "{error}");
}

#[tokio::test]
async fn request_that_no_frame_can_carry_is_refused_here() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    let error = client.put(address("item"), vec![0; 9 * 1024 * 1024]).send().await.unwrap_err();
    assert!(matches!(error, ClientError::TooLarge { .. }), "{error}");
    let large = vec![7; 3 * 1024 * 1024];
    client.put(address("item"), large.clone()).send().await.unwrap();
    assert_eq!(client.get(address("item")).send().await.unwrap().single().unwrap().bytes, large);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_in_flight_each_get_their_own_answer() {
    let fake = Fake::start().await;
    let client = fake.client().await;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..256 {
        let client = client.clone();
        tasks.spawn(async move {
            for n in 0..10 {
                let (address, value) = (address(&format!("{task}/{n}")), format!("value {task}/{n}"));
                client.put(address.clone(), value.clone()).send().await.unwrap();
                assert_eq!(client.get(address).send().await.unwrap().single().unwrap().bytes, value);
            }
        });
    }
    while let Some(done) = within("a task", tasks.join_next()).await {
        done.unwrap();
    }
}
