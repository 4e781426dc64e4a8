"""The ground floor: errors, files, documents, devices, memory, threads."""
