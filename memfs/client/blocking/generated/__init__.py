"""The blocking API's delegations, made from the asynchronous API by `make blocking`."""
