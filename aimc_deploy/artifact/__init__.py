"""The bundle on disk: safe files, the manifest, writes that are all or nothing, and the results."""
