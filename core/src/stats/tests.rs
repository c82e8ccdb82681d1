//! The laws of merging, and agreement with the histogram that recorded.

use alloc::vec;
use alloc::vec::Vec;
use hdrhistogram::Histogram;
use proptest::prelude::*;

use super::layout::Layout;
use super::{Recorder, Sketch, WindowRecorder, WindowSketch};

const PPM: [u32; 10] = [0, 1, 250_000, 500_000, 900_000, 950_000, 990_000, 999_000, 999_999, 1_000_000];

fn recorded(samples: &[u64]) -> Recorder {
    let mut recorder = Recorder::default();
    samples.iter().for_each(|&us| recorder.record(us));
    recorder
}

/// Latencies of every size, some of them outside the range, many of them equal.
fn samples() -> impl Strategy<Value = Vec<u64>> {
    let sample = prop_oneof![0u64..50, 200u64..300_000, 1_000_000u64..=4_000_000_000, Just(u64::MAX)];
    proptest::collection::vec(sample, 0..300)
}

proptest! {
    /// The promise of the whole: however the samples are spread over shards, workers and datacenters, and in whatever
    /// order their sketches are merged, the result is that of one recorder which saw them all.
    #[test]
    fn any_partition_merged_in_any_order_is_the_whole(
        samples in samples(),
        places in proptest::collection::vec(0usize..7, 300),
        order in Just((0usize..7).collect::<Vec<_>>()).prop_shuffle(),
        split in 0usize..7,
    ) {
        let mut parts = vec![Recorder::<3>::default(); 7];
        for (us, place) in samples.iter().zip(&places) {
            parts[*place].record(*us);
        }
        let merged = |parts: &[usize], sketches: &[Recorder]| {
            let mut sum = Sketch::default();
            parts.iter().for_each(|&part| sum.merge(&sketches[part].sketch()));
            sum
        };
        // Two groups first, then the groups: another association.
        let mut sum = merged(&order[..split], &parts);
        sum.merge(&merged(&order[split..], &parts));
        let whole = recorded(&samples).sketch();
        prop_assert_eq!(&sum, &whole);
        for ppm in PPM {
            prop_assert_eq!(sum.value_at_quantile_micro(ppm), whole.value_at_quantile_micro(ppm));
        }
    }

    #[test]
    fn merging_is_commutative_and_the_empty_sketch_is_neutral(a in samples(), b in samples()) {
        let (a, b) = (recorded(&a).sketch(), recorded(&b).sketch());
        let (mut ab, mut ba, mut same) = (a.clone(), b.clone(), a.clone());
        ab.merge(&b);
        ba.merge(&a);
        same.merge(&Sketch::default());
        prop_assert_eq!(ab, ba);
        prop_assert_eq!(same, a);
    }

    /// `hdrhistogram` takes quantiles as floats; at these its rank and ours are the same.
    #[test]
    fn quantiles_are_those_of_hdrhistogram(samples in samples()) {
        let mut reference = Histogram::<u64>::new_with_bounds(1, Layout::HIGHEST_US, 3).unwrap();
        for &us in &samples {
            reference.record(us.clamp(1, Layout::HIGHEST_US)).unwrap();
        }
        let sketch = recorded(&samples).sketch();
        prop_assert_eq!(sketch.count(), reference.len());
        if samples.is_empty() {
            prop_assert_eq!(sketch.value_at_quantile_micro(500_000), None);
            return Ok(());
        }
        let most = sketch.max_us().unwrap();
        for ppm in &PPM[1..] {
            let value = reference.value_at_quantile(f64::from(*ppm) / 1e6).min(most);
            prop_assert_eq!(sketch.value_at_quantile_micro(*ppm), Some(value), "{} ppm", ppm);
        }
    }

    #[test]
    fn the_answer_is_within_a_thousandth_of_a_real_sample(samples in samples()) {
        let mut sorted: Vec<u64> = samples.iter().map(|us| (*us).clamp(1, Layout::HIGHEST_US)).collect();
        sorted.sort();
        let sketch = recorded(&samples).sketch();
        prop_assert_eq!(sketch.min_us(), sorted.first().copied());
        prop_assert_eq!(sketch.max_us(), sorted.last().copied());
        let outside = samples.iter().filter(|us| !(1..=Layout::HIGHEST_US).contains(*us)).count();
        prop_assert_eq!(sketch.clamped(), outside as u64);
        let sum: u128 = sorted.iter().map(|us| u128::from(*us) * 1_000).sum();
        prop_assert_eq!(sketch.mean_ns().map(u128::from), sum.checked_div(sorted.len() as u128));
        for ppm in PPM {
            let rank = (sorted.len() * ppm as usize).div_ceil(1_000_000).max(1);
            if let Some(answer) = sketch.value_at_quantile_micro(ppm) {
                let real = sorted[rank - 1];
                prop_assert!(real <= answer && answer - real <= real / 1_000, "{} for {}", answer, real);
            }
        }
    }

    #[test]
    fn sketches_survive_the_wire_in_a_few_bytes_a_bucket(samples in samples()) {
        let sketch = recorded(&samples).sketch();
        let bytes = minicbor::to_vec(&sketch).unwrap();
        prop_assert!(bytes.len() <= 44 + 4 * samples.len());
        prop_assert_eq!(minicbor::decode::<Sketch>(&bytes).unwrap(), sketch);
    }

    /// What decodes at all is a sound sketch: it is asked everything and merged without a panic.
    #[test]
    fn hostile_sketches_are_refused_or_sound(
        head in proptest::collection::vec(any::<u32>(), 4),
        body in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut bytes = vec![0x85];
        for number in head {
            bytes.extend(minicbor::to_vec(number % 5_000).unwrap());
        }
        bytes.extend(minicbor::to_vec(minicbor::bytes::ByteVec::from(body)).unwrap());
        if let Ok(sketch) = minicbor::decode::<Sketch>(&bytes) {
            let mut twice = sketch.clone();
            twice.merge(&sketch);
            for ppm in PPM {
                prop_assert!(twice.value_at_quantile_micro(ppm).is_some());
            }
            prop_assert_eq!(minicbor::to_vec(&sketch).unwrap(), bytes, "one encoding for each sketch");
        }
    }
}

#[test]
fn bad_sketches_are_refused() {
    let good = recorded(&[5, 70, 70]).sketch();
    let bytes = minicbor::to_vec(&good).unwrap();
    // [5: clamped 0, sum 145, min 5, max 70, pairs (5, 1) (65, 2)]
    assert_eq!(bytes, [0x85, 0, 0x18, 145, 5, 0x18, 70, 0x44, 5, 1, 65, 2]);
    for (what, bytes) in [
        ("an empty bucket", &[0x85, 0, 0x18, 145, 5, 0x18, 70, 0x44, 5, 0, 65, 2][..]),
        ("the same bucket twice", &[0x85, 0, 0x18, 145, 5, 5, 0x44, 5, 1, 0, 2]),
        ("a bucket without a count", &[0x85, 0, 0x18, 145, 5, 0x18, 70, 0x43, 5, 1, 65]),
        ("a superfluous byte", &[0x85, 0, 0x18, 145, 5, 0x18, 70, 0x45, 5, 0x81, 0, 65, 2]),
        ("a least value elsewhere", &[0x85, 0, 0x18, 145, 4, 0x18, 70, 0x44, 5, 1, 65, 2]),
        ("more clamped than samples", &[0x85, 4, 0x18, 145, 5, 0x18, 70, 0x44, 5, 1, 65, 2]),
        ("a bucket beyond the last", &[0x85, 0, 0x18, 145, 5, 0x18, 70, 0x46, 5, 1, 0xff, 0xff, 0x7f, 2]),
        ("samples without buckets", &[0x85, 0, 1, 1, 1, 0x40]),
    ] {
        assert!(minicbor::decode::<Sketch>(bytes).is_err(), "{what}");
    }
    assert_eq!(minicbor::decode::<Sketch>(&[0x80]).unwrap(), Sketch::default());
}

#[test]
fn a_window_begins_anew_when_it_is_taken() {
    let mut recorder = WindowRecorder::default();
    recorder.record(1_234);
    let first = recorder.take();
    assert_eq!((first.count(), first.max_us()), (1, Some(1_234)));
    assert_eq!(recorder.take(), WindowSketch::default());
    recorder.record(10);
    assert_eq!(recorder.take().max_us(), Some(10));
}
