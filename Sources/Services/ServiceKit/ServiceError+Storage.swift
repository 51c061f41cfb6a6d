extension ServiceError {
    /// What a client is told of a failure below the services; nil for one that is no known kind.
    package init?(failure: any Error) {
        return nil
    }
}
