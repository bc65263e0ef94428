//! Two of five nodes die without a word: writes go on with stand-ins, and what they keep gets home.

use std::collections::BTreeMap;

use super::cluster::{Cluster, Shape};
use super::door::{Door, item};
use super::until;

const TABLE: &str = "stood-for";

/// A number of a node, without labels.
fn number(door: &Door, name: &str) -> Option<f64> {
    let page = door.get("/metrics").expect(200);
    let page = String::from_utf8_lossy(&page.body).into_owned();
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

fn sum(cluster: &Cluster, nodes: &[usize], name: &str) -> f64 {
    nodes.iter().map(|node| number(&cluster.door(*node), name).expect("a number that each node has")).sum()
}

/// What n1 believes of n2 to n5.
fn standings(cluster: &Cluster) -> [String; 4] {
    let status = cluster.status(0);
    let members = status["nodes"].as_array().cloned().unwrap_or_default();
    ["n2", "n3", "n4", "n5"].map(|name| {
        let member = members.iter().find(|member| member["name"] == name);
        member.and_then(|member| member["standing"].as_str()).unwrap_or("unknown").to_owned()
    })
}

fn write(door: &Door, keys: std::ops::Range<usize>, kept: &mut BTreeMap<String, String>) {
    for key in keys {
        let (key, value) = (format!("key {key}"), format!("value {key} by {}", door.address));
        door.put(&item(TABLE, &key), None, value.as_bytes()).expect(200);
        kept.insert(key, value);
    }
}

#[test]
fn writes_go_on_without_two_of_five_and_every_copy_gets_home() {
    let mut cluster = Cluster::start(Shape::FIVE);
    let mut kept = BTreeMap::new();
    write(&cluster.door(0), 0..50, &mut kept);
    assert!(number(&cluster.door(0), "quorate_hints_pending").is_some_and(|pending| pending == 0.0));

    // Both owners of W = 2 may be gone: every one of these needs at most a stand-in, and none may fail.
    cluster.nodes[3].kill();
    cluster.nodes[4].kill();
    for node in [0, 1, 2] {
        write(&cluster.door(node), 100 + node * 100..160 + node * 100, &mut kept);
    }
    let stored = sum(&cluster, &[0, 1, 2], "quorate_hints_stored_total");
    assert!(stored > 0.0, "partitions with two owners among the dead need hints");
    // A strict write to such a partition fails, and says what it left behind.
    let strict = (0..40).map(|key| {
        let target = format!("{}?quorum=strict&timeout_ms=700", item(TABLE, &format!("strict {key}")));
        cluster.door(0).put(&target, None, b"strict")
    });
    let refused: Vec<_> = strict.filter(|answer| answer.status != 200).collect();
    // 504: the owner that was asked first is one of the dead, and the time was over before another could say more.
    assert!(refused.iter().all(|answer| matches!(answer.status, 503 | 504)), "{refused:?}");
    let honest =
        refused.iter().filter(|answer| answer.status == 503).map(|answer| answer.json()["error"]["stored"].clone());
    let hinted = honest.filter(|stored| stored["fallbacks"].as_u64() >= Some(1) && stored["primaries"] == 1);
    assert!(hinted.count() > 0, "hints do not count for a strict write, and are there: {refused:?}");

    until("the members agree that two of them do not answer", || {
        let found = standings(&cluster);
        if found == ["alive", "alive", "unreachable", "unreachable"] { Ok(()) } else { Err(format!("{found:?}")) }
    });
    until("the other two agree", || {
        let believed = sum(&cluster, &[0, 1, 2], "quorate_members{state=\"unreachable\"}");
        if believed > 5.0 { Ok(()) } else { Err(format!("{believed} of 6")) }
    });

    cluster.start_node(3);
    cluster.start_node(4);
    cluster.all_connected();
    until("a restart is newer than all that was said before", || {
        let found = standings(&cluster);
        if found == ["alive"; 4] { Ok(()) } else { Err(format!("{found:?}")) }
    });
    until("all hints are at home", || {
        let pending = sum(&cluster, &[0, 1, 2, 3, 4], "quorate_hints_pending");
        if pending == 0.0 { Ok(()) } else { Err(format!("{pending} hints")) }
    });
    let delivered = sum(&cluster, &[0, 1, 2], "quorate_hints_delivered_total");
    assert!(delivered > 0.0, "they went home");
    // Those that nobody stood in for, because the owner was only silent, come by exchanges: all three copies of every
    // item answer, and agree.
    until("all copies agree", || {
        for (key, value) in &kept {
            let target = format!("{}?quorum=strict&r=3&timeout_ms=1000", item(TABLE, key));
            let answer = cluster.door(4).get(&target);
            let right = answer.status == 200 && answer.body == value.as_bytes();
            if !right {
                return Err(format!("{key}: {answer}"));
            }
        }
        Ok(())
    });
    let restarted = [3, 4].map(|node| cluster.door(node));
    until("the restarted nodes know that they agree with all others", || {
        let ages: Vec<_> = restarted.iter().map(|door| number(door, "quorate_in_sync_age_seconds")).collect();
        if ages.iter().all(Option::is_some) { Ok(()) } else { Err(format!("{ages:?}")) }
    });
}
