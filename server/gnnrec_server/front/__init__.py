"""What speaks HTTP/2 for the server. Every call goes to the gateway of `rpc`."""
