//! The browser's copy of the codes is that of the table.

#[path = "../examples/codes.rs"]
mod codes;

#[test]
fn the_browsers_copy_of_the_codes_is_up_to_date() {
    let path = codes::codes_ts_path();
    let copy = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        copy == codes::codes_ts(),
        "{} is not what wire/src/code.rs says: run `cargo run -p moorline-wire --example codes`",
        path.display()
    );
}
