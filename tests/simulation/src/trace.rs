//! What happened, as a running hash (always) and as lines to read (when asked for). Two runs of one seed have equal hashes.

#[derive(Clone, Debug)]
pub struct Trace {
    hash: u64,
    lines: Option<Vec<String>>,
}

impl Trace {
    pub fn new(readable: bool) -> Self {
        Self { hash: 0xCBF2_9CE4_8422_2325, lines: readable.then(Vec::new) }
    }

    /// FNV-1a over whole words.
    pub fn mix(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(17);
    }

    pub fn mix_text(&mut self, text: &str) {
        for chunk in text.as_bytes().chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
    }

    /// Adds a line; `text` is made only when somebody will read it.
    pub fn line(&mut self, now_us: i64, process: usize, text: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            let seconds = now_us / 1_000_000;
            lines.push(format!(
                "{seconds:>6}.{:06} {:<11} {}",
                now_us % 1_000_000,
                crate::world::NAMES[process],
                text()
            ));
        }
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    pub fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}
