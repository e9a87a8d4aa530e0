//! The fuzz target on stable Rust, without libFuzzer, for a moment: over the packets of the tables, over the corpus that
//! libFuzzer found, and over mutations of both.

use std::fs;
use std::path::Path;

use tidegate_mqtt::Version;
use tidegate_mqtt::codec::Stage;

use crate::cases::{self, Case};
use crate::common::bytes::packet;
use crate::fuzz;
use crate::mutate::{Random, mutate};

const MUTATIONS: usize = 100_000;

#[test]
fn fuzz_for_a_moment() {
    let cases = cases::v3::CASES.iter().chain(cases::v5::CASES).map(input);
    let inputs: Vec<Vec<u8>> = cases.chain(corpus()).collect();
    for input in &inputs {
        fuzz::run(input);
    }
    let mut random = Random::new(20_260_417);
    for _ in 0..MUTATIONS {
        let packet = &inputs[random.below(inputs.len())];
        let other = &inputs[random.below(inputs.len())];
        let mut input = vec![random.below(256) as u8, random.below(256) as u8];
        input.extend(mutate(&mut random, packet.get(2..).unwrap_or_default(), other));
        // One packet seldom gets far; several do.
        for _ in 0..random.below(4) {
            input.extend_from_slice(inputs[random.below(inputs.len())].get(2..).unwrap_or_default());
        }
        fuzz::run(&input);
    }
}

/// A case as an input of the fuzz target.
fn input(case: &Case) -> Vec<u8> {
    let stage = match case.stage {
        Stage::First => 0,
        Stage::Established(Version::V31) => 1,
        Stage::Established(Version::V311) => 2,
        Stage::Established(Version::V5) => 3,
    };
    [vec![stage, 0], packet(case.bytes)].concat()
}

/// The checked-in corpus, where `cargo fuzz` keeps it.
fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/decode");
    let mut files: Vec<_> = fs::read_dir(&folder).expect("corpus").map(|file| file.expect("corpus").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files.iter().map(|file| fs::read(file).expect("corpus")).collect()
}
