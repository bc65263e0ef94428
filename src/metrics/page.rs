//! The page of a scrape: the catalogue's rows, each with its samples, in the text format of the crate `prometheus`.
//!
//! The crate's own counters are atomics in a registry. Ours are plain numbers of other threads, copied before; so the
//! page is made of the crate's plain families, and its encoder writes them.

use prometheus::proto::{Bucket, Counter, Gauge, Histogram as HistogramSample, LabelPair, Metric as Sample};
use prometheus::proto::{MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};

use super::catalogue::{CATALOGUE, Kind, Metric, Read};
use super::numbers::NodeNumbers;
use crate::protocol::types::{Histogram, Scale};

/// The samples of one row.
#[derive(Debug)]
pub struct Samples {
    kind: Kind,
    labels: &'static [&'static str],
    row: Vec<Sample>,
}

impl Samples {
    /// A value, with the values of the row's labels in their order.
    ///
    /// # Panics
    /// When there are more or fewer of them than the row has labels.
    pub fn put(&mut self, labels: &[&str], value: f64) {
        let mut sample = self.labelled(labels);
        match self.kind {
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(value);
                sample.set_counter(counter);
            }
            Kind::Gauge => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                sample.set_gauge(gauge);
            }
            Kind::Histogram => unreachable!("a histogram is put as one"),
        }
        self.row.push(sample);
    }

    /// A distribution, with the values of the row's labels in their order.
    ///
    /// # Panics
    /// When there are more or fewer of them than the row has labels.
    pub fn put_histogram<S: Scale>(&mut self, labels: &[&str], histogram: &Histogram<S>) {
        assert!(self.kind == Kind::Histogram, "a row that is not a histogram's has values");
        let bucket = |(bound, count)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(count);
            bucket
        };
        let mut distribution = HistogramSample::default();
        distribution.set_bucket(histogram.cumulative().map(bucket).collect());
        distribution.set_sample_count(histogram.count());
        distribution.set_sample_sum(histogram.sum());
        let mut sample = self.labelled(labels);
        sample.set_histogram(distribution);
        self.row.push(sample);
    }

    fn labelled(&self, values: &[&str]) -> Sample {
        assert_eq!(values.len(), self.labels.len(), "a sample has a value for each label of its row");
        let pair = |(name, value): (&&str, &&str)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        };
        Sample::from_label(self.labels.iter().zip(values).map(pair).collect())
    }
}

/// The text of a scrape.
///
/// # Panics
/// When a row of the catalogue contradicts itself, which the test of this module would have found.
#[must_use]
pub fn render(numbers: &NodeNumbers) -> String {
    let families: Vec<MetricFamily> = CATALOGUE.iter().filter_map(|metric| family(metric, numbers)).collect();
    let mut text = Vec::new();
    let encoded = TextEncoder::new().encode(&families, &mut text);
    encoded.expect("text is written to memory, and every family has a sample");
    String::from_utf8(text).unwrap_or_default()
}

/// A row with its samples; none while there is nothing to say: a zero would be a claim.
fn family(metric: &Metric, numbers: &NodeNumbers) -> Option<MetricFamily> {
    let mut samples = Samples { kind: metric.kind, labels: metric.labels, row: Vec::new() };
    match metric.read {
        Read::Total(read) => samples.put(&[], read(numbers) as f64),
        Read::Value(read) => samples.put(&[], read(numbers)),
        Read::Known(read) => {
            if let Some(value) = read(numbers) {
                samples.put(&[], value);
            }
        }
        Read::Family(read) => read(numbers, &mut samples),
    }
    if samples.row.is_empty() {
        return None;
    }
    let mut family = MetricFamily::default();
    family.set_name(metric.name.to_owned());
    family.set_help(metric.help.to_owned());
    family.set_field_type(match metric.kind {
        Kind::Counter => MetricType::COUNTER,
        Kind::Gauge => MetricType::GAUGE,
        Kind::Histogram => MetricType::HISTOGRAM,
    });
    family.set_metric(samples.row);
    Some(family)
}
