"""The pharmacist's dashboard: pages rendered on the server, usable without JavaScript."""
