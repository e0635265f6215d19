//! Cores and a model of the broker. A failing seed is printed.
#![allow(clippy::unwrap_used)] // helpers of tests are tests, too

mod model;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use model::{Broker, How};
use proptest::prelude::*;
use syncline_client_core::Answer;
use syncline_protocol::{DeviceId, DeviceSeq, Epoch, Seq};
use world::{Trouble, World, stream};

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn g11_nothing_stored_is_lost_or_repeated_and_all_agree(seed in any::<u64>()) {
        let mut world = World::new(seed, 3);
        world.run(1_500, Trouble::Clients);
        let heard = world.heard();
        for client in &world.clients {
            for said in &client.stored {
                let times = heard.get(said).copied().unwrap_or_default();
                if times == 0 {
                    prop_assert!(world.is_let_go(client, said, &heard), "{} is lost", said);
                }
            }
        }
        prop_assert!(heard.values().all(|times| *times == 1));
        world.assert_agreement();
        prop_assert_eq!(world.faults, 0);
    }

    #[test]
    fn g7_whatever_the_horizon_overtakes_all_agree_and_nothing_is_lost_unsaid(seed in any::<u64>()) {
        let mut world = World::new(seed, 3);
        world.run(1_500, Trouble::History);
        let heard = world.heard();
        for client in &world.clients {
            for said in &client.stored {
                let is_there = heard.contains_key(said) || world.is_let_go(client, said, &heard);
                prop_assert!(is_there, "{} is lost", said);
            }
        }
        prop_assert!(heard.values().all(|times| *times == 1));
        world.assert_agreement();
        prop_assert_eq!(world.faults, 0);
    }

    #[test]
    fn g3_a_devices_events_keep_their_order(seed in any::<u64>()) {
        let mut world = World::new(seed, 2);
        world.run(1_000, Trouble::Clients);
        let mut last: BTreeMap<DeviceId, Option<DeviceSeq>> = BTreeMap::new();
        for event in &world.broker.log {
            let before = last.insert(event.device, event.device_seq);
            prop_assert!(before.is_none_or(|before| before < event.device_seq));
        }
    }

    #[test]
    fn fork_4_a_copied_disk_loses_nothing(seed in any::<u64>()) {
        let mut world = World::new(seed, 2);
        world.run(300, Trouble::Clients);
        world.is_honest = false;
        let copied_at = world.said;
        let copy = world.clients[0].disk.clone();
        world.add_client(copy);
        world.run(800, Trouble::Clients);
        let heard = world.heard();
        // What waited in the copied disk is said by both.
        for said in copied_at + 1..=world.said {
            prop_assert!(heard.get(&format!("s{said}")).is_none_or(|times| *times == 1), "s{} is repeated", said);
        }
        for client in &world.clients {
            for said in client.stored.difference(&client.set_aside) {
                let let_go = world.is_let_go(client, said, &heard);
                prop_assert!(let_go || heard.contains_key(said), "{} is lost", said);
            }
        }
        world.assert_agreement();
    }

    #[test]
    fn fork_5_idle_copies_come_to_rest_as_devices_of_their_own(seed in any::<u64>()) {
        let mut world = World::new(seed, 1);
        world.run(100, Trouble::Clients);
        for _ in 0..2 {
            let copy = world.clients[0].disk.clone();
            world.add_client(copy);
        }
        world.run(0, Trouble::None);
        prop_assert!(world.takeovers >= 2);
        let devices: BTreeSet<DeviceId> = world.clients.iter().map(|it| it.core.device()).collect();
        prop_assert_eq!(devices.len(), 3);
        prop_assert!(world.heard().values().all(|times| *times == 1));
        world.assert_agreement();
    }

    #[test]
    fn replica_7_after_a_rolled_back_disk_all_agree_again(seed in any::<u64>()) {
        let mut world = World::new(seed, 3);
        world.run(400, Trouble::Clients);
        let head = world.chance.below(world.broker.log.len() + 1);
        world.is_honest = false;
        world.broker.roll_back(head);
        // The broker restarts: all connections are lost.
        (0..3).for_each(|n| world.cut(n));
        world.run(400, Trouble::Clients);
        world.assert_agreement();
        prop_assert_eq!(world.faults, 0);
    }
}

#[test]
fn the_model_gives_the_epoch_of_zeros_for_an_empty_stream() {
    let broker = Broker::new(stream());
    let nothing = (Seq::ZERO, Epoch::NONE);
    let opening = broker.opening(DeviceId::from_bytes([1; 16]), nothing, How::Delta);
    assert_eq!((opening.epoch, opening.mark), (Epoch::NONE, Some(None)));
    assert!(matches!(Answer::Saved(Seq::ZERO), Answer::Saved(_)));
}
