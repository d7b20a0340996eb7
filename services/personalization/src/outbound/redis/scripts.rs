//! Scripts are called by their names: on a cluster a batch calls one for each part of people, and the text would go along with each. A server
//! that does not know a script, because it has just started or was a copy until now, says so and has done nothing; the same call with the text
//! does it then, and leaves the script known.

use std::sync::OnceLock;

use redis::{Arg, Cmd, ErrorKind, Pipeline, RedisResult, ServerErrorKind, Value};

use super::RedisStore;
use crate::usecases::StoreUnavailable;

/// A script of ours.
pub(super) struct Script {
    text: &'static str,
    name: OnceLock<String>,
}

impl Script {
    pub(super) const fn new(text: &'static str) -> Self {
        Self { text, name: OnceLock::new() }
    }

    /// Begins a call. The number of keys follows, the keys, and what else the script is told.
    pub(super) fn call<'a>(&self, calls: &'a mut Pipeline) -> &'a mut Pipeline {
        calls.cmd("EVALSHA").arg(self.name())
    }

    /// As servers call it: a hash of the text.
    fn name(&self) -> &str {
        self.name.get_or_init(|| redis::Script::new(self.text).get_hash().to_owned())
    }

    /// A call with the text instead of the name.
    fn in_full(&self, call: &Cmd) -> Cmd {
        let mut in_full = redis::cmd("EVAL");
        in_full.arg(self.text);
        for word in call.args_iter().skip(2) {
            // None of our commands has a cursor.
            if let Arg::Simple(word) = word {
                in_full.arg(word);
            }
        }
        in_full
    }
}

impl RedisStore {
    /// Runs calls of one script: an answer for each, in their order.
    pub(super) async fn run_calls(
        &self,
        script: &Script,
        calls: &Pipeline,
    ) -> Result<Vec<RedisResult<Value>>, StoreUnavailable> {
        let mut answers = self.run(calls).await?;
        let mut again = redis::pipe();
        for (call, answer) in calls.cmd_iter().zip(&answers) {
            if is_unknown(answer) {
                again.add_command(script.in_full(call));
            }
        }
        let told = self.run(&again).await?;
        for (answer, told) in answers.iter_mut().filter(|answer| is_unknown(answer)).zip(told) {
            *answer = told;
        }
        Ok(answers)
    }
}

fn is_unknown(answer: &RedisResult<Value>) -> bool {
    answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::Server(ServerErrorKind::NoScript))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_by_name_and_one_in_full_say_the_same() {
        let script = Script::new("return KEYS[1]");
        let mut calls = redis::pipe();
        script.call(&mut calls).arg(1).arg("k").arg(&b"\xc3\x28"[..]).arg("");
        let call = calls.cmd_iter().next().expect("one call");
        let packed = |command: &str, script_or_name: &str| {
            let mut command = redis::cmd(command);
            command.arg(script_or_name).arg(1).arg("k").arg(&b"\xc3\x28"[..]).arg("");
            command.get_packed_command()
        };
        // As the server says it: `SCRIPT LOAD "return KEYS[1]"`.
        assert_eq!(call.get_packed_command(), packed("EVALSHA", "4a2267357833227dd98abdedb8cf24b15a986445"));
        assert_eq!(script.in_full(call).get_packed_command(), packed("EVAL", "return KEYS[1]"));
    }
}
