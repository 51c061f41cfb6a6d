import Contracts
import JSON
import ServiceKit
import Sharding

/// What few posts have, kept together in one column: a poll, a place, people on the photos, who may comment.
struct PostDetails: Sendable, Equatable, JSONEncodable {
    var poll: Poll?
    var place: Place?
    var people: [TaggedPerson] = []
    var comments = CommentControl.everybody
    /// As what it waited, if it was scheduled: its photos are attached to that as well.
    var scheduledAs: PostID?

    func write(to json: inout JSONWriter) {
        json.object { json in
            if let poll { json.field("poll", poll) }
            if let place { json.field("place", place) }
            if !people.isEmpty { json.field("people", people) }
            if comments != .everybody { json.field("comments", comments.rawValue) }
            if let scheduledAs { json.field("scheduled_as", scheduledAs.rawValue) }
        }
    }
}

extension PostDetails {
    /// Nil for what this version cannot read.
    init?(_ json: JSONValue) {
        guard json.object != nil else { return nil }
        self.init()
        if let poll = json["poll"] {
            guard let poll = Poll(poll) else { return nil }
            self.poll = poll
        }
        if let place = json["place"] {
            guard let place = Place(place) else { return nil }
            self.place = place
        }
        people = (json["people"]?.array ?? []).compactMap { TaggedPerson($0) }
        comments = json["comments"]?.string.flatMap(CommentControl.init(rawValue:)) ?? .everybody
        scheduledAs = json["scheduled_as"]?.int64.map { PostID(rawValue: $0) }
    }
}

/// A question with answers to choose from; who chose what lies beside the post.
struct Poll: Sendable, Equatable, JSONEncodable {
    static let optionLimits = 2...4
    static let optionCharacters = 50
    static let expirySeconds = 300...2_629_746

    var options: [String]
    var expiresAt: Timestamp
    var isMultiple: Bool
    /// Whether the counts are shown only after the end.
    var hidesTotals: Bool

    func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("options", options)
            json.field("expires", expiresAt.microseconds)
            json.field("multiple", isMultiple)
            json.field("hides_totals", hidesTotals)
        }
    }
}

extension Poll {
    init?(_ json: JSONValue) {
        guard let options = json["options"]?.array?.compactMap(\.string),
            Self.optionLimits.contains(options.count),
            let expires = json["expires"]?.int64, let multiple = json["multiple"]?.bool,
            let hidesTotals = json["hides_totals"]?.bool
        else { return nil }
        self.init(
            options: options,
            expiresAt: Timestamp(microseconds: expires),
            isMultiple: multiple,
            hidesTotals: hidesTotals
        )
    }

    /// What a client asks for; nil without a poll, as clients also say it with an empty one.
    static func asked(_ input: Input, at now: Timestamp) throws(ServiceError) -> Poll? {
        guard let poll = input.object("poll"), poll.has("options") else { return nil }
        var options: [String] = []
        for option in poll.strings("options") {
            let text = try PostDraft.text(option)
            guard !text.isEmpty, text.count <= optionCharacters else {
                throw .invalid("An option of a poll has 1 to \(optionCharacters) characters")
            }
            options.append(text)
        }
        guard optionLimits.contains(options.count), Set(options).count == options.count else {
            throw .invalid("A poll has 2 to \(optionLimits.upperBound) different options")
        }
        guard let seconds = poll.int("expires_in"), expirySeconds.contains(seconds) else {
            throw .invalid("A poll ends after 5 minutes to a month")
        }
        return Poll(
            options: options,
            expiresAt: now + .seconds(seconds),
            isMultiple: poll.bool("multiple") ?? false,
            hidesTotals: poll.bool("hide_totals") ?? false
        )
    }
}

/// Where a post says it is from: what its author typed, never what a photo carries.
struct Place: Sendable, Equatable, JSONEncodable {
    static let nameCharacters = 100

    var name: String
    var point: Point?

    struct Point: Sendable, Equatable {
        var latitude: Double
        var longitude: Double
    }

    func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("name", name)
            if let point {
                json.field("latitude", point.latitude)
                json.field("longitude", point.longitude)
            }
        }
    }
}

extension Place {
    init?(_ json: JSONValue) {
        guard let name = json["name"]?.string else { return nil }
        self.init(name: name, point: nil)
        if let latitude = json["latitude"]?.double, let longitude = json["longitude"]?.double {
            point = Point(latitude: latitude, longitude: longitude)
        }
    }

    static func asked(_ input: Input) throws(ServiceError) -> Place? {
        guard let place = input.object("place"), let typed = place.string("name"), !typed.isEmpty
        else { return nil }
        let name = try PostDraft.text(typed)
        guard name.count <= nameCharacters, Topic(place: name) != nil else {
            throw .invalid("The name of a place has 1 to \(nameCharacters) characters")
        }
        guard place.has("latitude") || place.has("longitude") else { return Place(name: name) }
        guard let latitude = place.double("latitude"), let longitude = place.double("longitude"),
            (-90.0...90.0).contains(latitude), (-180.0...180.0).contains(longitude)
        else { throw .invalid("latitude and longitude are degrees, and go together") }
        return Place(name: name, point: Point(latitude: latitude, longitude: longitude))
    }
}

/// Who is on a photo, as the author says.
struct TaggedPerson: Sendable, Equatable, JSONEncodable {
    /// How many one post may have.
    static let limit = 20

    var user: UserID
    /// Which photo, and where on it in parts of its width and height; nil for the post as a whole.
    var media: MediaID?
    var spot: Spot?

    struct Spot: Sendable, Equatable {
        var x: Double
        var y: Double
    }

    func write(to json: inout JSONWriter) {
        json.object { json in
            json.field("user", user.rawValue)
            json.field("media", media?.rawValue)
            json.field("x", spot?.x)
            json.field("y", spot?.y)
        }
    }
}

extension TaggedPerson {
    init?(_ json: JSONValue) {
        guard let user = json["user"]?.int64 else { return nil }
        self.init(
            user: UserID(rawValue: user),
            media: json["media"]?.int64.map { MediaID(rawValue: $0) }
        )
        if let x = json["x"]?.double, let y = json["y"]?.double { spot = Spot(x: x, y: y) }
    }

    /// Whom a client names, each once; whether they exist, and may be named, is not known yet.
    static func asked(_ input: Input, on photos: [MediaID]) throws(ServiceError) -> [TaggedPerson] {
        var people: [TaggedPerson] = []
        for object in input.objects("people") {
            guard let user = object.string("account_id").flatMap({ UserID($0) }) else {
                throw .invalid("people need an account_id")
            }
            var person = TaggedPerson(user: user)
            if let media = object.string("media_id"), !media.isEmpty {
                guard let id = MediaID(media), photos.contains(id) else {
                    throw .invalid("people can only be on photos of the post")
                }
                person.media = id
            }
            if object.has("x") || object.has("y") {
                guard let x = object.double("x"), let y = object.double("y"),
                    (0.0...1.0).contains(x), (0.0...1.0).contains(y)
                else { throw .invalid("x and y are between 0 and 1, and go together") }
                person.spot = Spot(x: x, y: y)
            }
            if !people.contains(where: { $0.user == user }) { people.append(person) }
        }
        guard people.count <= limit else {
            throw .invalid("No more than \(limit) people can be on a post")
        }
        return people
    }
}

/// Who may comment on a post, beyond who may see it.
enum CommentControl: String, Sendable, CaseIterable {
    case everybody
    /// Those who follow the author, and the author.
    case followers
    /// The author alone.
    case nobody

    static func asked(_ input: Input) throws(ServiceError) -> CommentControl? {
        guard let text = input.string("comments"), !text.isEmpty else { return nil }
        guard let control = CommentControl(rawValue: text) else {
            throw .invalid("comments is not included in the list")
        }
        return control
    }
}
