import Contracts
import Postgres
import Sharding

/// One row of a user's notifications.
struct NotificationRow: RowDecodable, Sendable {
    let id: NotificationID
    /// Nil for a kind of a newer version, which is not shown.
    let kind: NotificationKind?
    let actor: UserID
    let subject: Int64
    let createdAt: Timestamp

    init(row: inout Row) throws(DatabaseError) {
        id = try row.next()
        kind = NotificationKind(number: try row.next())
        actor = try row.next()
        subject = try row.next()
        createdAt = try row.next()
    }

    var post: PostID? {
        kind?.isAboutPost == true && subject != 0 ? PostID(rawValue: subject) : nil
    }
}

extension NotificationKind {
    /// As rows hold it.
    var number: Int16 {
        switch self {
        case .follow: 1
        case .followRequest: 2
        case .favourite: 3
        case .mention: 4
        case .reblog: 5
        case .status: 6
        case .poll: 7
        case .update: 8
        case .tag: 9
        case .adminReport: 10
        }
    }

    init?(number: Int16) {
        guard let kind = Self.allCases.first(where: { $0.number == number }) else { return nil }
        self = kind
    }

    /// Whether it cannot be shown without its post.
    var isAboutPost: Bool {
        switch self {
        case .follow, .followRequest, .adminReport: false
        case .favourite, .mention, .reblog, .status, .poll, .update, .tag: true
        }
    }

    /// Those that are shown as one, where a client asks for groups.
    static let grouped: [NotificationKind] = [.favourite, .reblog, .follow]

    /// What names the group of a notification, or the notification itself where it is in none.
    func groupKey(subject: Int64, id: NotificationID) -> String {
        Self.grouped.contains(self) ? "\(rawValue)-\(subject)" : "ungrouped-\(id)"
    }
}

/// What a group's key names.
enum NotificationGroup: Equatable {
    case one(NotificationID)
    case all(NotificationKind, subject: Int64)

    init?(key: String) {
        guard let dash = key.lastIndex(of: "-") else { return nil }
        let tail = String(key[key.index(after: dash)...])
        if key[..<dash] == "ungrouped" {
            guard let id = NotificationID(tail) else { return nil }
            self = .one(id)
        } else {
            guard let kind = NotificationKind(rawValue: String(key[..<dash])),
                NotificationKind.grouped.contains(kind), let subject = Int64(tail), subject >= 0
            else { return nil }
            self = .all(kind, subject: subject)
        }
    }
}

/// One group, as its rows make it.
struct GroupRow: RowDecodable, Sendable {
    let kind: NotificationKind?
    let subject: Int64
    let newest: NotificationID
    let oldest: NotificationID
    let count: Int
    let newestAt: Timestamp
    let actors: [UserID]

    init(row: inout Row) throws(DatabaseError) {
        kind = NotificationKind(number: try row.next())
        subject = try row.next()
        newest = try row.next()
        oldest = try row.next()
        count = try row.next()
        newestAt = try row.next()
        actors = try row.next()
    }

    var post: PostID? {
        kind?.isAboutPost == true && subject != 0 ? PostID(rawValue: subject) : nil
    }
}
