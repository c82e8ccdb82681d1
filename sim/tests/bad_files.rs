//! Bad scenario files and what is said of each: the line, what is wrong, what would be right.

use std::path::Path;

use expect_test::expect_file;

#[test]
fn every_bad_file_is_refused_with_these_words() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    assert!(files.len() >= 30, "{} bad files", files.len());
    let mut messages = String::new();
    for file in files {
        let name = file.file_name().expect("a file has a name").to_string_lossy().into_owned();
        match tidegate_sim::scenario::load(std::slice::from_ref(&file)) {
            Ok(_) => panic!("{name} is taken for good"),
            Err(bad) => {
                messages.push_str(&format!("{name}\n    {}\n", bad.why.trim_end().replace('\n', "\n    ")))
            }
        }
    }
    expect_file![folder.join("messages.txt")].assert_eq(&messages);
}
