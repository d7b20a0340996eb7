//! Just enough of Rust's grammar to see which paths a file names: identifiers, strings and punctuation with their lines, `use`
//! trees written out. Comments and the unit tests at the end of a file are left out. No full parser, so that the check costs
//! milliseconds and this crate stays light.

/// A token and the line it stands on, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub line: usize,
    pub kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Ident(String),
    /// The text of a string literal, escapes not resolved.
    Text(String),
    /// `::`
    Separator,
    Punct(char),
}

impl Token {
    fn is(&self, punct: char) -> bool {
        self.kind == Kind::Punct(punct)
    }

    fn ident(&self) -> Option<&str> {
        match &self.kind {
            Kind::Ident(name) => Some(name),
            _ => None,
        }
    }
}

/// Splits a source text into tokens.
pub fn tokens(source: &str) -> Vec<Token> {
    let mut reader = Reader { chars: source.chars().collect(), at: 0, line: 1 };
    let mut found = Vec::new();
    while let Some(next) = reader.peek(0) {
        let line = reader.line;
        if next == '/' && reader.peek(1) == Some('/') {
            reader.skip_while(|c| c != '\n');
        } else if next == '/' && reader.peek(1) == Some('*') {
            reader.block_comment();
        } else if let Some(text) = reader.string() {
            found.push(Token { line, kind: Kind::Text(text) });
        } else if next == '\'' {
            reader.quote();
        } else if next.is_alphanumeric() || next == '_' {
            found.push(Token { line, kind: Kind::Ident(reader.skip_while(|c| c.is_alphanumeric() || c == '_')) });
        } else if next == ':' && reader.peek(1) == Some(':') {
            reader.bump();
            reader.bump();
            found.push(Token { line, kind: Kind::Separator });
        } else {
            reader.bump();
            if !next.is_whitespace() {
                found.push(Token { line, kind: Kind::Punct(next) });
            }
        }
    }
    found
}

struct Reader {
    chars: Vec<char>,
    at: usize,
    line: usize,
}

impl Reader {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn bump(&mut self) -> Option<char> {
        let next = self.peek(0)?;
        self.at += 1;
        if next == '\n' {
            self.line += 1;
        }
        Some(next)
    }

    fn skip_while(&mut self, keep: impl Fn(char) -> bool) -> String {
        let mut taken = String::new();
        while let Some(next) = self.peek(0).filter(|c| keep(*c)) {
            taken.push(next);
            self.bump();
        }
        taken
    }

    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        while let Some(next) = self.bump() {
            match (next, self.peek(0)) {
                ('/', Some('*')) => {
                    self.bump();
                    depth += 1;
                }
                ('*', Some('/')) => {
                    self.bump();
                    depth -= 1;
                    if depth == 0 {
                        return;
                    }
                }
                _ => {}
            }
        }
    }

    /// A string literal of any kind that starts here: `".."`, `b".."`, `c".."`, `r".."`, `r#".."#` and mixtures.
    fn string(&mut self) -> Option<String> {
        let mut ahead = 0;
        while ahead < 2 && self.peek(ahead).is_some_and(|c| "bcr".contains(c)) {
            ahead += 1;
        }
        let raw = ahead > 0 && self.peek(ahead - 1) == Some('r');
        let mut hashes = 0;
        while raw && self.peek(ahead + hashes) == Some('#') {
            hashes += 1;
        }
        if self.peek(ahead + hashes) != Some('"') {
            return None;
        }
        for _ in 0..=ahead + hashes {
            self.bump();
        }
        let mut text = String::new();
        while let Some(next) = self.bump() {
            if next == '\\' && !raw {
                text.push(next);
                text.extend(self.bump());
            } else if next == '"' && (0..hashes).all(|n| self.peek(n) == Some('#')) {
                for _ in 0..hashes {
                    self.bump();
                }
                break;
            } else {
                text.push(next);
            }
        }
        Some(text)
    }

    /// A character literal or a lifetime.
    fn quote(&mut self) {
        self.bump();
        if self.peek(0) == Some('\\') {
            self.bump();
            self.bump();
            self.skip_while(|c| c != '\'' && c != '\n');
            self.bump();
        } else if self.peek(1) == Some('\'') {
            self.bump();
            self.bump();
        }
    }
}

/// The tokens before the unit tests of a file: before the first `#[cfg(test)]` that stands on a `mod` with a body.
pub fn without_unit_tests(tokens: &[Token]) -> &[Token] {
    let shape = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
    let text = |token: &Token| match &token.kind {
        Kind::Ident(name) => name.clone(),
        Kind::Punct(punct) => punct.to_string(),
        Kind::Separator | Kind::Text(_) => String::new(),
    };
    let starts = tokens.windows(shape.len() + 2).position(|window| {
        window.iter().zip(shape).all(|(token, expected)| text(token) == expected) && window[shape.len() + 1].is('{')
    });
    &tokens[..starts.unwrap_or(tokens.len())]
}

/// A path that a file names, such as `crate::domain::Order`, and its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub line: usize,
    pub path: Vec<String>,
}

/// Every path named in `use` items (trees written out) and in code.
pub fn paths(tokens: &[Token]) -> Vec<Named> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at].ident() == Some("use") {
            at += 1;
            use_tree(tokens, &mut at, &[], &mut found);
        } else if tokens[at].ident().is_some() {
            found.push(plain_path(tokens, &mut at));
        } else {
            at += 1;
        }
    }
    found
}

/// A run of `a::b::c`; generic arguments end it.
fn plain_path(tokens: &[Token], at: &mut usize) -> Named {
    let line = tokens[*at].line;
    let mut path = Vec::new();
    while let Some(name) = tokens.get(*at).and_then(Token::ident) {
        path.push(name.to_owned());
        *at += 1;
        let goes_on = tokens.get(*at).is_some_and(|token| token.kind == Kind::Separator);
        if !(goes_on && tokens.get(*at + 1).and_then(Token::ident).is_some()) {
            break;
        }
        *at += 1;
    }
    Named { line, path }
}

/// One branch of a `use` tree, up to the `,`, `}` or `;` that ends it.
fn use_tree(tokens: &[Token], at: &mut usize, prefix: &[String], found: &mut Vec<Named>) {
    let mut path = prefix.to_vec();
    let line = tokens.get(*at).map_or(0, |token| token.line);
    while let Some(token) = tokens.get(*at) {
        if token.is('{') {
            *at += 1;
            while tokens.get(*at).is_some_and(|token| !token.is('}') && !token.is(';')) {
                use_tree(tokens, at, &path, found);
                if tokens.get(*at).is_some_and(|token| token.is(',')) {
                    *at += 1;
                }
            }
            *at += usize::from(tokens.get(*at).is_some_and(|token| token.is('}')));
            return;
        }
        if token.is(',') || token.is('}') || token.is(';') {
            break;
        }
        match token.ident() {
            Some("as") => *at += 1,
            Some(name) => path.push(name.to_owned()),
            None => {}
        }
        *at += 1;
    }
    found.push(Named { line, path });
}
