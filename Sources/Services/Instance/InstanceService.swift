import Contracts
import HTTP
import JSON
import ServiceKit

/// What this server is, and right answers to what clients ask at their start and we do not have.
///
/// An empty answer here is the truth about a feature that is not there: a client that asks for custom
/// emojis, filters or lists goes on instead of reporting an error.
package struct InstanceService: Sendable {
    private let instance: InstanceEntity
    private let figures: @Sendable () async -> Figures

    /// How much there is; estimates of the shards.
    package struct Figures: Sendable {
        package var users: Int
        /// Who has read a home timeline within a month.
        package var activeUsers: Int
        package var statuses: Int

        package init(users: Int, activeUsers: Int, statuses: Int) {
            self.users = users
            self.activeUsers = activeUsers
            self.statuses = statuses
        }
    }

    package init(
        instance: InstanceEntity,
        figures: @escaping @Sendable () async -> Figures
    ) {
        self.instance = instance
        self.figures = figures
    }

    package var endpoints: [Endpoint] { instanceEndpoints + EmptyAnswers.endpoints }

    private func current() async -> InstanceEntity {
        var instance = instance
        let figures = await figures()
        instance.userCount = figures.users
        instance.activeUserCount = figures.activeUsers
        instance.statusCount = figures.statuses
        return instance
    }

    private var instanceEndpoints: [Endpoint] {
        [
            Endpoint(
                .get,
                "/api/v2/instance",
                operationID: "getInstanceV2",
                summary: "What this server is and allows.",
                tag: "instance",
                access: .open,
                output: .entity("Instance")
            ) { _ in
                let instance = await current()
                return .json { instance.writeVersion2(to: &$0) }
            },
            Endpoint(
                .get,
                "/api/v1/instance",
                operationID: "getInstanceV1",
                summary: "What this server is and allows, for older clients.",
                tag: "instance",
                access: .open,
                output: .entity("InstanceV1")
            ) { _ in
                let instance = await current()
                return .json { instance.writeVersion1(to: &$0) }
            },
            Endpoint(
                .get,
                "/.well-known/nodeinfo",
                operationID: "discoverNodeInfo",
                summary: "Where the NodeInfo document is.",
                tag: "instance",
                access: .open,
                output: .entity("NodeInfoLinks")
            ) { call in
                .json { json in
                    json.object { json in
                        json.key("links")
                        json.array { json in
                            json.object { json in
                                json.field(
                                    "rel",
                                    "http://nodeinfo.diaspora.software/ns/schema/2.0"
                                )
                                json.field("href", call.publicURL + "/nodeinfo/2.0")
                            }
                        }
                    }
                }
            },
            Endpoint(
                .get,
                "/nodeinfo/2.0",
                operationID: "getNodeInfo",
                summary: "What this server runs, as other networks ask for it.",
                tag: "instance",
                access: .open,
                output: .entity("NodeInfo")
            ) { _ in
                let instance = await current()
                return .json { NodeInfo(instance).write(to: &$0) }
            },
        ]
    }
}

/// The NodeInfo 2.0 document.
private struct NodeInfo: JSONEncodable {
    let instance: InstanceEntity

    init(_ instance: InstanceEntity) {
        self.instance = instance
    }

    func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("version", "2.0")
            json.key("software")
            json.object { json in
                json.field("name", "tessera")
                json.field("version", InstanceEntity.softwareVersion)
            }
            json.field("protocols", [String]())
            json.key("services")
            json.object { json in
                json.field("inbound", [String]())
                json.field("outbound", [String]())
            }
            json.field("openRegistrations", instance.openSignUp)
            json.key("usage")
            json.object { json in
                json.key("users")
                json.object { json in
                    json.field("total", instance.userCount)
                    json.field("activeMonth", instance.activeUserCount)
                }
                json.field("localPosts", instance.statusCount)
            }
            json.key("metadata")
            json.object { $0.field("nodeName", instance.title) }
        }
    }
}
