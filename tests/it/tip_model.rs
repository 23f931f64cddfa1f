//! The whole of a model's life on the taxi example: trained on a training set, served over Flight, and compared.

use std::process::Command;

use crate::world::repository;

#[test]
fn a_model_predicts_the_same_bits_from_served_and_from_training_features() {
    let python = std::env::var_os("LOCKSTEP_EXAMPLE_PYTHON")
        .expect("LOCKSTEP_EXAMPLE_PYTHON is not set: run bash tests/run, which installs scikit-learn");
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new("bash");
    command.arg(repository().join("examples/tip_model/run")).arg(folder.path());
    command.env("LOCKSTEP", env!("CARGO_BIN_EXE_lockstep")).env("LOCKSTEP_EXAMPLE_PYTHON", python);
    let ran = command.output().expect("bash");
    let (out, error) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{}\n{out}\n{error}", ran.status);
    let compared = out.lines().last().expect("a comparison");
    let (differ, rest) = compared.split_once(" of ").expect("a count");
    let (predictions, rest) = rest.split_once(" predictions differ (").expect("a count");
    let different = rest.strip_suffix(" different ones)").expect("a count");
    assert_eq!(differ, "0", "{out}");
    // A model that says the same of everything would agree with itself too.
    assert!(predictions.parse::<u32>().expect("a number") > 500, "{out}");
    assert!(different.parse::<u32>().expect("a number") > 100, "{out}");
}
