//! What a program writes: lines of words, some of them in colour, the same at each run.

/// So many bytes of it.
pub fn of(length: usize) -> Vec<u8> {
    const WORDS: [&str; 8] = [
        "Compiling",
        "src/link/frame.rs",
        "\x1b[32mok\x1b[0m",
        "1024",
        "--",
        "\x1b[1;31merror\x1b[0m",
        "of",
        "→ done",
    ];
    let mut text = Vec::with_capacity(length + 100);
    let (mut chance, mut column) = (1_u32, 0);
    while text.len() < length {
        // The constants are those of Numerical Recipes.
        chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let word = WORDS[(chance >> 29) as usize];
        column += word.len() + 1;
        text.extend_from_slice(word.as_bytes());
        if column > 70 {
            text.extend_from_slice(b"\r\n");
            column = 0;
        } else {
            text.push(b' ');
        }
    }
    text.truncate(length);
    text
}

/// So many bytes as a program writes them that draws all over the screen.
pub fn drawn(length: usize) -> Vec<u8> {
    let lines = of(length);
    let mut text = Vec::with_capacity(2 * length);
    for (index, line) in lines.split(|byte| *byte == b'\r').enumerate() {
        text.extend_from_slice(format!("\x1b[{};1H", index % 24 + 1).as_bytes());
        text.extend_from_slice(line.strip_prefix(b"\n").unwrap_or(line));
    }
    text.truncate(length);
    text
}
