// swift-tools-version: 6.2
import PackageDescription

// One function a layer; a target may import what it names, which points down only:
// Roles -> Services, Control -> Storage -> Runtime -> System. Tests/Structure checks the sources.

let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    // A call between functions of a request asks no executor where to run: it stays on its loop.
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    // Debug builds, and so the tests, check exclusive access at run time; it is a tenth of a request.
    .unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release)),
]

let argumentParser = Target.Dependency.product(
    name: "ArgumentParser",
    package: "swift-argument-parser"
)
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let configuration = Target.Dependency.product(
    name: "Configuration",
    package: "swift-configuration"
)

func library(_ name: String, package: String? = nil, apt: String) -> Target {
    .systemLibrary(
        name: name,
        path: "Sources/System/\(name)",
        pkgConfig: package,
        providers: [.apt([apt])]
    )
}

func shim(
    _ name: String,
    _ uses: [Target.Dependency] = [],
    links: [String],
    cSettings: [CSetting] = []
) -> Target {
    .target(
        name: name,
        dependencies: uses,
        path: "Sources/System/\(name)",
        cSettings: cSettings,
        linkerSettings: links.map { .linkedLibrary($0) }
    )
}

func module(
    _ layer: String,
    _ name: String,
    _ uses: [Target.Dependency],
    exclude: [String] = []
) -> Target {
    .target(
        name: name,
        dependencies: uses,
        path: "Sources/\(layer)/\(name)",
        exclude: exclude,
        swiftSettings: settings
    )
}

func runtime(_ name: String, _ uses: [Target.Dependency]) -> Target {
    module("Runtime", name, uses)
}

func storage(_ name: String, _ uses: [Target.Dependency], exclude: [String] = []) -> Target {
    module("Storage", name, uses, exclude: exclude)
}

func control(_ name: String, _ uses: [Target.Dependency]) -> Target {
    module("Control", name, uses)
}

func service(_ name: String, _ uses: [Target.Dependency], exclude: [String] = []) -> Target {
    .target(
        name: name,
        dependencies: uses,
        path: "Sources/Services/\(name)",
        exclude: exclude,
        swiftSettings: settings
    )
}

func role(_ name: String, _ uses: [Target.Dependency]) -> Target {
    .executableTarget(
        name: name,
        dependencies: uses,
        path: "Sources/Roles/\(name)",
        swiftSettings: settings
    )
}

func tests(
    _ layer: String,
    _ name: String,
    _ uses: [Target.Dependency],
    exclude: [String] = []
) -> Target {
    .testTarget(
        name: "\(name)Tests",
        dependencies: uses,
        path: "Tests/\(layer)/\(name)Tests",
        exclude: exclude,
        swiftSettings: settings
    )
}

let package = Package(
    name: "tessera",
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(
            url: "https://github.com/apple/swift-configuration",
            from: "1.4.0",
            traits: ["YAML", "CommandLineArguments"]
        ),
    ],
    targets: [
        // System
        library("CLibuv", package: "libuv", apt: "libuv1-dev"),
        library("CLibpq", package: "libpq", apt: "libpq-dev"),
        library("CLibmemcached", package: "libmemcached", apt: "libmemcached-dev"),
        library("CCrypto", package: "libcrypto", apt: "libssl-dev"),
        library("CSodium", package: "libsodium", apt: "libsodium-dev"),
        library("CPicoHTTP", package: "libh2o", apt: "libh2o-dev"),
        // Its .pc file has a flag that SwiftPM refuses.
        library("CUtf8proc", apt: "libutf8proc-dev"),
        library("CZlib", package: "zlib", apt: "zlib1g-dev"),
        // glib-2.0.pc has the include paths that vips.h needs; vips.pc has a flag that SwiftPM refuses.
        library("CVipsLibrary", package: "glib-2.0", apt: "libvips-dev"),
        shim("CRuntime", links: ["uv"]),
        shim("CSimdjson", links: ["simdjson"]),
        shim("CVips", ["CVipsLibrary"], links: ["vips", "gobject-2.0", "glib-2.0"]),

        // Runtime
        runtime("Crypto", ["CCrypto", "CSodium"]),
        runtime("EventLoops", ["CLibuv", "CRuntime"]),
        runtime("JSON", ["CRuntime", "CSimdjson"]),
        runtime("Logs", ["JSON", logging]),
        runtime("Metrics", ["EventLoops"]),
        runtime("Normalizing", ["CUtf8proc"]),
        runtime("Processes", ["EventLoops", "HTTP", "Logs", "Metrics", "Settings", logging]),
        runtime("Settings", [configuration]),
        runtime("HTTP", ["CPicoHTTP", "CRuntime", "EventLoops"]),

        // Storage
        storage("Administration", ["CLibpq", "Crypto", "Sharding"]),
        storage("Counters", ["Database", "Postgres", "Sharding"], exclude: ["Migrations"]),
        storage(
            "Database",
            ["Etcd", "EventLoops", "JSON", "Metrics", "Postgres", "Sharding", logging],
            exclude: ["Migrations"]
        ),
        storage(
            "Jobs",
            ["Database", "EventLoops", "JSON", "Metrics", "Postgres", "Sharding", logging],
            exclude: ["Migrations"]
        ),
        storage("Etcd", ["EventLoops", "HTTP", "JSON", "Settings", "Sharding"]),
        storage(
            "Memcache",
            [
                "CLibmemcached", "CRuntime", "Crypto", "Etcd", "EventLoops", "Metrics",
                "Settings", "Sharding",
            ]
        ),
        storage(
            "Pages",
            ["Database", "EventLoops", "Memcache", "Metrics", "Postgres", "Sharding"]
        ),
        storage("Postgres", ["CLibpq", "CLibuv", "EventLoops", "Sharding"]),
        storage(
            "Interactions",
            [
                "CZlib", "Database", "EventLoops", "JSON", "Metrics", "Objects", "Postgres",
                "Sharding", logging,
            ],
            exclude: ["Migrations"]
        ),
        storage("Objects", ["EventLoops"]),
        storage("Sharding", []),

        // Control
        control("Coordination", ["JSON", "Sharding"]),
        control("Movement", ["Administration", "Coordination", "EventLoops", "Sharding"]),
        control(
            "Journals",
            ["Coordination", "Crypto", "Etcd", "EventLoops", "JSON", "Sharding"]
        ),

        // Services
        service(
            "Accounts",
            [
                "Contracts", "Crypto", "Database", "EventLoops", "HTTP", "JSON", "Jobs",
                "Memcache", "Normalizing", "Postgres", "ServiceKit", "Sharding",
            ],
            exclude: ["Migrations"]
        ),
        service("Contracts", ["JSON", "Sharding"]),
        service(
            "Feed",
            [
                "Contracts", "Database", "EventLoops", "HTTP", "Interactions", "JSON", "Jobs",
                "Pages", "Postgres", "ServiceKit", "Sharding", logging,
            ],
            exclude: ["Migrations"]
        ),
        service(
            "Graph",
            [
                "Contracts", "Counters", "Database", "HTTP", "JSON", "Jobs", "Pages", "Postgres",
                "ServiceKit", "Sharding",
            ],
            exclude: ["Migrations"]
        ),
        service("Instance", ["Contracts", "HTTP", "JSON", "ServiceKit"]),
        service(
            "Posts",
            [
                "Contracts", "Counters", "Database", "EventLoops", "HTTP", "Interactions", "JSON",
                "Jobs", "Memcache", "Pages", "Postgres", "ServiceKit", "Sharding",
            ],
            exclude: ["Migrations"]
        ),
        service(
            "Ranking",
            [
                "Contracts", "Database", "EventLoops", "HTTP", "Interactions", "JSON", "Metrics",
                "Postgres", "ServiceKit", "Sharding", logging,
            ]
        ),
        service("Search", ["Contracts", "HTTP", "ServiceKit", "Sharding"]),
        service(
            "ServiceKit",
            [
                "Contracts", "Crypto", "Database", "EventLoops", "HTTP", "Interactions", "JSON",
                "Logs", "Metrics", "Pages", "Postgres", "Sharding", logging,
            ],
            exclude: ["Migrations"]
        ),

        // Roles
        role(
            "appnode",
            [
                "Accounts", "Contracts", "Crypto", "Database", "Etcd", "EventLoops", "Feed",
                "Graph", "HTTP", "Instance", "Interactions", "JSON", "Logs", "Media", "Memcache",
                "Metrics", "Objects", "Pages", "Postgres", "Posts", "Processes", "Ranking",
                "Search", "ServiceKit", "Settings", "Sharding", logging,
            ]
        ),
        service(
            "Media",
            [
                "CVips", "Contracts", "Crypto", "Database", "EventLoops", "HTTP", "JSON", "Jobs",
                "Objects", "Postgres", "ServiceKit", "Sharding", logging,
            ],
            exclude: ["Migrations"]
        ),
        role(
            "coordinator",
            [
                "Coordination", "Etcd", "EventLoops", "JSON", "Journals", "Metrics", "Movement",
                "Processes", "Settings", "Sharding", logging,
            ]
        ),
        role(
            "shardctl",
            [
                "Administration", "Coordination", "Etcd", "EventLoops", "JSON", "Journals",
                "Memcache",
                "Movement", "Settings", "Sharding", argumentParser,
            ]
        ),
        role(
            "worker",
            [
                "Accounts", "Contracts", "Coordination", "Counters", "Database", "Etcd",
                "EventLoops", "Feed", "Graph", "Interactions", "Jobs", "Media", "Memcache",
                "Metrics", "Objects", "Pages", "Posts", "Postgres", "Processes", "ServiceKit",
                "Settings", "Sharding", logging,
            ]
        ),

        // Bench
        .executableTarget(
            name: "benchnode",
            dependencies: [
                "Contracts", "EventLoops", "HTTP", "JSON", "Memcache", "Metrics", "Postgres",
                "ServiceKit", "Sharding", argumentParser, logging,
            ],
            path: "bench/benchnode",
            swiftSettings: settings
        ),
        .executableTarget(
            name: "fanoutbench",
            dependencies: [
                "Contracts", "Database", "EventLoops", "Feed", "Jobs", "Metrics", "Postgres",
                "Sharding", argumentParser, logging,
            ],
            path: "bench/fanout",
            swiftSettings: settings
        ),
        .executableTarget(
            name: "loadgen",
            dependencies: ["EventLoops", "HTTP", "JSON", argumentParser],
            path: "bench/loadgen",
            swiftSettings: settings
        ),

        // Tests
        tests(
            "Roles",
            "worker",
            ["Database", "Metrics", "Sharding", "Shards", "TestSupport", "worker", logging]
        ),
        tests("Roles", "shardctl", ["JSON", "TestSupport", "coordinator", "shardctl"]),
        tests("Bench", "Loadgen", ["loadgen"]),
        tests(
            "Control",
            "Movement",
            [
                "Administration", "Coordination", "EventLoops", "JSON", "Movement", "Sharding",
                "TestSupport",
            ]
        ),
        tests("Runtime", "Crypto", ["Crypto"]),
        tests("Runtime", "EventLoops", ["EventLoops"]),
        tests("Runtime", "HTTP", ["CRuntime", "EventLoops", "HTTP"]),
        tests("Runtime", "JSON", ["JSON"]),
        tests("Runtime", "Logs", ["JSON", "Logs", logging]),
        tests("Runtime", "Metrics", ["EventLoops", "Metrics"]),
        tests("Runtime", "Normalizing", ["Normalizing"]),
        tests("Runtime", "Processes", ["Processes"]),
        tests("Runtime", "Settings", ["Settings"]),
        tests(
            "Services",
            "Media",
            [
                "Contracts", "Database", "EventLoops", "HTTP", "JSON", "Jobs", "Media", "Metrics",
                "Objects", "ServiceKit", "Sharding", "TestSupport", logging,
            ],
            exclude: ["Fixtures"]
        ),
        .target(
            name: "Simulation",
            path: "Tests/Simulation/Simulation",
            swiftSettings: settings
        ),
        tests(
            "Services",
            "Accounts",
            [
                "Accounts", "Contracts", "Crypto", "Database", "EventLoops", "HTTP", "JSON",
                "Jobs", "Memcache", "Metrics", "Postgres", "ServiceKit", "Sharding",
                "TestSupport", logging,
            ]
        ),
        tests("Control", "Coordination", ["Coordination", "JSON", "Sharding"]),
        .target(
            name: "MoveSimulation",
            dependencies: ["Coordination", "JSON", "Sharding", "Simulation"],
            path: "Tests/Simulation/MoveSimulation",
            swiftSettings: settings
        ),
        .target(
            name: "PoolSimulation",
            dependencies: ["Memcache", "Sharding", "Simulation"],
            path: "Tests/Simulation/PoolSimulation",
            swiftSettings: settings
        ),
        .executableTarget(
            name: "simulate",
            dependencies: ["MoveSimulation", "PoolSimulation", argumentParser],
            path: "Tests/Simulation/simulate",
            swiftSettings: settings
        ),
        tests("Simulation", "Move", ["Coordination", "MoveSimulation"]),
        tests(
            "Control",
            "Journals",
            ["Coordination", "Etcd", "EventLoops", "JSON", "Journals", "Sharding", "TestSupport"]
        ),
        tests("Services", "Contracts", ["Contracts", "JSON"]),
        tests(
            "Services",
            "Ranking",
            [
                "Contracts", "Counters", "Database", "EventLoops", "HTTP", "Interactions", "JSON",
                "Metrics", "Postgres", "Ranking", "ServiceKit", "Sharding", "Shards",
                "TestSupport", logging,
            ]
        ),
        tests(
            "Services",
            "Posts",
            [
                "Contracts", "Counters", "Database", "EventLoops", "HTTP", "JSON", "Jobs",
                "Memcache", "Metrics", "Postgres", "Posts", "ServiceKit", "Sharding",
                "TestSupport", logging,
            ]
        ),
        tests(
            "Services",
            "Feed",
            [
                "Contracts", "Database", "EventLoops", "Feed", "Graph", "Jobs", "Metrics",
                "Postgres", "ServiceKit", "Sharding", "Shards", "TestSupport", logging,
            ]
        ),
        tests(
            "Services",
            "Graph",
            [
                "Contracts", "Database", "Graph", "JSON", "Jobs", "Postgres", "Sharding", "Shards",
                "TestSupport",
            ]
        ),
        tests(
            "Services",
            "ServiceKit",
            [
                "Contracts", "EventLoops", "HTTP", "JSON", "Metrics", "Postgres", "ServiceKit",
                "TestSupport", logging,
            ]
        ),
        tests(
            "Simulation",
            "Race",
            [
                "Accounts", "Contracts", "Feed", "Graph", "Jobs", "Memcache", "Pages",
                "PoolSimulation",
                "Sharding", "Simulation",
            ]
        ),
        tests(
            "Storage",
            "Jobs",
            [
                "Database", "EventLoops", "JSON", "Jobs", "Metrics", "Postgres", "Sharding",
                "Shards", "TestSupport", logging,
            ]
        ),
        tests(
            "Storage",
            "Memcache",
            ["Etcd", "EventLoops", "Memcache", "Metrics", "Sharding", "TestSupport"]
        ),
        tests(
            "Storage",
            "Pages",
            [
                "Database", "EventLoops", "Memcache", "Metrics", "Pages", "Postgres", "Sharding",
                "Shards", "TestSupport",
            ]
        ),
        tests("Storage", "Administration", ["Administration", "Sharding", "TestSupport"]),
        tests(
            "Storage",
            "Interactions",
            [
                "Database", "EventLoops", "Interactions", "JSON", "Metrics", "Objects", "Postgres",
                "Sharding", "Shards", "TestSupport", logging,
            ]
        ),
        tests(
            "Storage",
            "Counters",
            ["Counters", "Database", "Postgres", "Sharding", "Shards", "TestSupport"]
        ),
        tests(
            "Storage",
            "Database",
            ["Database", "Etcd", "EventLoops", "Postgres", "Sharding", "TestSupport"]
        ),
        tests("Storage", "Postgres", ["EventLoops", "Postgres", "Sharding", "TestSupport"]),
        tests("Storage", "Objects", ["EventLoops", "Objects"]),
        tests("Storage", "Etcd", ["Etcd", "EventLoops", "Sharding", "TestSupport"]),
        tests("Storage", "Sharding", ["Sharding"]),
        .target(
            name: "Shards",
            dependencies: ["Database", "EventLoops", "Postgres", "Sharding", "TestSupport"],
            path: "Tests/Shards",
            swiftSettings: settings
        ),
        .target(
            name: "TestSupport",
            dependencies: ["EventLoops", "Sharding"],
            path: "Tests/Support",
            swiftSettings: settings
        ),
    ],
    cxxLanguageStandard: .cxx17
)

// `cluster/fuzz` builds this one program, with every module instrumented; it is no part of any other build.
if Context.environment["TESSERA_FUZZ"] != nil {
    package.targets.removeAll { $0.type == .test }
    package.targets.append(
        .executableTarget(
            name: "fuzz",
            dependencies: ["EventLoops", "HTTP"],
            path: "Tests/Runtime",
            sources: ["HTTPFuzz/Fuzz.swift", "HTTPTests/FramingProperties.swift"],
            swiftSettings: settings
        )
    )
}
