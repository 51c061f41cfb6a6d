import Glibc

/// Asks a person before something is destroyed; a program, or a pipe, has to say `--yes`.
func confirm(_ question: String, yes: Bool, _ output: OutputOptions) throws {
    guard !yes else { return }
    guard isatty(STDIN_FILENO) == 1, !output.json else {
        throw Failure(.usage, "\(question) Say --yes to do it.")
    }
    let prompt = Array("\(question) [y/N] ".utf8)
    // A prompt that cannot be shown is answered by nobody, which means no.
    _ = write(STDERR_FILENO, prompt, prompt.count)
    guard let answer = readLine(), ["y", "yes"].contains(answer.lowercased()) else {
        throw Failure(.usage, "not confirmed; nothing was changed")
    }
}
