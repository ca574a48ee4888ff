"""Commands that serve until they are stopped: node, gateway, a whole development cluster."""
