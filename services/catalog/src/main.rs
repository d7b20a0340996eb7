fn main() -> std::process::ExitCode {
    chassis::main::<catalog::Service>()
}
