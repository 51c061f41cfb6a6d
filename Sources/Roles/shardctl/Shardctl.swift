import ArgumentParser

/// The operator's tool for shards, their schemas and the map.
@main
struct Shardctl: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "shardctl",
        abstract: "Creates, shows and migrates the shards of a Tessera cluster.",
        discussion: """
            Exit status: 0 done; 1 status or doctor found something wrong; 64 wrong usage; 65 refused input,
            such as an edited migration; 69 etcd or a shard does not answer; 70 an error of this program;
            73 a conflict with what exists; 77 wrong password or right.

            Example, on four bare PostgreSQL servers:
              shardctl init --shard s1=127.0.0.1:15201 --shard s2=127.0.0.1:15202 \\
                --shard s3=127.0.0.1:15203 --shard s4=127.0.0.1:15204 --migrations Sources \\
                --etcd http://127.0.0.1:15079 --etcd-user tessera --etcd-password-file etcd \\
                --secrets secrets
            """,
        subcommands: [
            InitCommand.self, StatusCommand.self, ShardCommand.self, PlanCommand.self,
            ApplyCommand.self, PauseCommand.self, ResumeCommand.self, AbortCommand.self,
            RollbackCommand.self, PinCommand.self, UnpinCommand.self, IsolateCommand.self,
            VerifyCommand.self, MapCommand.self,
            MigrateCommand.self, DoctorCommand.self, DeadCommand.self, ReconcileCommand.self,
            PoolCommand.self,
        ]
    )
}
