def unsupported_reason(device_type, dtype):
    return "not built yet"
