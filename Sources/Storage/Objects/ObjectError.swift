import Glibc

/// Why an object could not be stored or read.
package enum ObjectError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The disk is full, or the quota is used up; nothing of the object was kept.
    case full
    /// Too much waits for the disk already.
    case overloaded
    /// An upload grew beyond its bound.
    case tooLarge(limit: Int)
    case failed(call: String, errno: Int32)

    package var description: String {
        switch self {
        case .full: "the object store is full"
        case .overloaded: "the object store is overloaded"
        case .tooLarge(let limit): "the object is larger than \(limit) bytes"
        case .failed(let call, let number): "\(call): \(String(cString: strerror(number)))"
        }
    }

    /// The error that `errno` says, after a system call failed.
    static func last(_ call: String) -> ObjectError {
        let number = errno
        return number == ENOSPC || number == EDQUOT ? .full : .failed(call: call, errno: number)
    }
}
