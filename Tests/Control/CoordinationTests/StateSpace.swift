/// Every state that can be reached from a first one, by every order of steps.
struct StateSpace<State: Hashable> {
    private(set) var states: Set<State> = []
    /// The first bad state found, with the steps that lead there.
    private(set) var bad: (state: State, path: [String])?

    /// `next` gives the steps that are possible in a state; none of them has to be taken, so that whoever takes steps
    /// may also stop for ever.
    init(
        from first: State,
        next: (State) -> [(step: String, state: State)],
        isBad: (State) -> Bool
    ) {
        var paths: [State: [String]] = [first: []]
        var open = [first]
        states = [first]
        while !open.isEmpty {
            let state = open.removeFirst()
            let path = paths[state] ?? []
            if isBad(state) {
                bad = (state, path)
                return
            }
            for (step, reached) in next(state) where states.insert(reached).inserted {
                paths[reached] = path + [step]
                open.append(reached)
            }
        }
    }
}
