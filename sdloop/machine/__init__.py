"""The ground: errors, files, documents, devices, memory, threads."""
