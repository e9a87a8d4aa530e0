//! What a converter is asked to put into bytes for a device.

/// A message from the host or the application to a device, before encoding.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// The answer to a client-side RPC (spec 12.1).
    RpcResponse {
        /// The device's request id.
        id: i32,
        /// The answer as JSON text, or what went wrong as plain text.
        body: Result<String, String>,
        /// The bytes that came with the request (design §3).
        context: Vec<u8>,
    },
}
