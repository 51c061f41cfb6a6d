package import EventLoops
import Glibc

/// What the kernel and the event loops say about this process.
package enum ProcessMetrics {
    /// Registers the `process_…` and `event_loop_…` families.
    package static func register(in registry: MetricsRegistry, loops: [EventLoop]) {
        registry.gauge(
            "process_resident_memory_bytes",
            help: "Resident memory size in bytes.",
            read: residentBytes
        )
        registry.gauge(
            "process_open_fds",
            help: "Number of open file descriptors.",
            read: openDescriptors
        )
        registry.gauge(
            "process_max_fds",
            help: "Maximum number of open file descriptors.",
            read: descriptorLimit
        )
        registry.counter(
            "process_cpu_seconds_total",
            help: "Total user and system CPU time spent in seconds.",
            read: cpuSeconds
        )
        let started = Double(time(nil))
        registry.gauge(
            "process_start_time_seconds",
            help: "Start time of the process since Unix epoch in seconds.",
            read: { started }
        )
        for loop in loops { watch(loop, in: registry) }
    }

    /// Copies a loop's own counters into cells once a second, on the loop, which alone may read them.
    private static func watch(_ loop: EventLoop, in registry: MetricsRegistry) {
        let labels = [(name: "loop", value: String(loop.index))]
        let turns = registry.gauge(
            "event_loop_turns",
            help: "Turns of the loop since its start.",
            labels: labels
        )
        let slow = registry.gauge(
            "event_loop_slow_turns",
            help: "Turns that took longer than the watchdog allows.",
            labels: labels
        )
        let longest = registry.gauge(
            "event_loop_longest_turn_seconds",
            help: "The longest turn since the start of the loop.",
            labels: labels
        )
        loop.execute { sample(loop, turns, slow, longest) }
    }

    private static func sample(
        _ loop: EventLoop,
        _ turns: Gauge,
        _ slow: Gauge,
        _ longest: Gauge
    ) {
        let now = loop.statistics
        turns.set(Double(now.turns))
        slow.set(Double(now.slowTurns))
        longest.set(
            Double(now.longestTurn.components.attoseconds) * 1e-18
                + Double(now.longestTurn.components.seconds)
        )
        loop.after(.seconds(1)) { sample(loop, turns, slow, longest) }
    }

    @Sendable private static func residentBytes() -> Double {
        // statm: pages of size, resident, shared, …
        guard let text = readSmallFile("/proc/self/statm") else { return .nan }
        let fields = text.split(separator: " ")
        guard fields.count > 1, let pages = Double(fields[1]) else { return .nan }
        return pages * Double(sysconf(Int32(_SC_PAGESIZE)))
    }

    @Sendable private static func openDescriptors() -> Double {
        guard let directory = opendir("/proc/self/fd") else { return .nan }
        defer { closedir(directory) }
        var count = 0
        while readdir(directory) != nil { count += 1 }
        // ".", ".." and the directory's own descriptor.
        return Double(count - 3)
    }

    @Sendable private static func descriptorLimit() -> Double {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
            return .nan
        }
        return Double(limit.rlim_cur)
    }

    @Sendable private static func cpuSeconds() -> Double {
        var usage = rusage()
        guard getrusage(RUSAGE_SELF.rawValue, &usage) == 0 else { return .nan }
        return [usage.ru_utime, usage.ru_stime].reduce(0) {
            $0 + Double($1.tv_sec) + Double($1.tv_usec) * 1e-6
        }
    }

    private static func readSmallFile(_ path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 4_096)
        let count = read(descriptor, &bytes, bytes.count)
        return count > 0 ? String(decoding: bytes[..<count], as: UTF8.self) : nil
    }
}
