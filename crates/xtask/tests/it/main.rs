//! Tests of the tools: architecture rules, local stack.
