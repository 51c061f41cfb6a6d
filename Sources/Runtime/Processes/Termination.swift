import Glibc

/// The signals that end the process in order.
enum Termination {
    private static var signals: sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        sigaddset(&set, SIGTERM)
        sigaddset(&set, SIGINT)
        return set
    }

    static func block() {
        var set = signals
        pthread_sigmask(SIG_BLOCK, &set, nil)
        // A peer that goes while it is written to is an error of that write.
        signal(SIGPIPE, SIG_IGN)
    }

    /// Waits on the calling thread, which does nothing else any more.
    static func wait() -> Int32 {
        var set = signals
        var signal: Int32 = 0
        while sigwait(&set, &signal) != 0 {}
        return signal
    }
}
