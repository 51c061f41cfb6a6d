package import Settings

/// How long a memcached may take, and how much may wait for it.
package struct CacheSettings: Sendable {
    package var transport = CacheTransport.meta

    /// A node that does not answer within this time counts as down.
    package var timeout = Duration.milliseconds(200)

    /// The first wait before a node that is down is tried again; it doubles up to ``retryCeiling``.
    package var retry = Duration.milliseconds(250)
    package var retryCeiling = Duration.seconds(2)

    /// How many commands may wait for one node; those above it are misses.
    package var queueLimit = 4096

    /// How long a fill waits for another's, before it loads itself.
    package var fillPatience = CacheLimits.fillPatience

    /// How long what must be deleted waits for a newer map, after a node has said that there is one.
    package var mapPatience = Duration.milliseconds(500)

    /// How long the process holds copies of very hot values; zero holds none.
    package var heldTime = HotCopies.defaultLifetime

    package init() {}
}

extension CacheSettings {
    /// What a process is told under `cache`.
    package init(_ values: SettingValues) {
        // The table of settings allows no other.
        transport = CacheTransport(rawValue: values.text("cache.client")) ?? .meta
        heldTime = .milliseconds(values.integer("cache.held_milliseconds"))
    }
}
