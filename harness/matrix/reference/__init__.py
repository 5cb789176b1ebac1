"""What is generated from the models of a matrix and from the methods: a JSON schema, and pages for people."""
