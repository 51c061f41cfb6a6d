package import Postgres
package import Sharding

/// Exact counts that many writers change at once: each change is a row, folded into totals afterwards.
package enum Counters {
    /// The statement that counts a change; it belongs into the write which makes it.
    ///
    /// The write must be one that happens once, such as the insert of a row under a key: a change is counted
    /// each time this runs. An amount of 0 adds nothing.
    package static func append(
        subject: some RoutedID,
        kind: some RawRepresentable<Int16>,
        amount: Int
    ) -> SQL {
        """
        INSERT INTO counters.delta (bucket, subject, kind, amount)
        SELECT \(subject.bucket)::smallint, \(subject.rawValue)::bigint, \(kind.rawValue)::smallint,
            \(amount)::integer
        WHERE \(amount) <> 0
        """
    }

    /// The same, once for each row of a common table expression of the statement it is put into.
    package static func append(
        subject: some RoutedID,
        kind: some RawRepresentable<Int16>,
        amount: Int,
        forEach rows: StaticString
    ) -> SQL {
        """
        INSERT INTO counters.delta (bucket, subject, kind, amount)
        SELECT \(subject.bucket)::smallint, \(subject.rawValue)::bigint, \(kind.rawValue)::smallint,
            \(amount)::integer
        FROM \(unsafe: "\(rows)")
        """
    }

    /// The same for many subjects: each row of a common table expression with the columns bucket, subject and amount.
    package static func append(
        kind: some RawRepresentable<Int16>,
        forEach rows: StaticString
    ) -> SQL {
        """
        INSERT INTO counters.delta (bucket, subject, kind, amount)
        SELECT bucket, subject, \(kind.rawValue)::smallint, amount
        FROM \(unsafe: "\(rows)")
        WHERE amount <> 0
        """
    }
}
