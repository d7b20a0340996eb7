module shopsphere/peers/connect

go 1.24
