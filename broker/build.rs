//! Tells cargo what is embedded into the broker besides its sources.

fn main() {
    // The migrations are read by a macro, which cargo does not see.
    println!("cargo::rerun-if-changed=migrations");
    // The web build: the folder must exist for rust-embed, and a new build must be embedded.
    let dist = "../web/dist";
    if let Err(e) = std::fs::create_dir_all(dist) {
        println!("cargo::error=cannot make {dist}: {e}");
    }
    println!("cargo::rerun-if-changed={dist}");
}
